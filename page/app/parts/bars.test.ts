import { expect, test } from 'vitest';
import { BARS_MAX, barAt, bucketsOf, coveredBy, heightsOf, moved } from './bars.ts';

const FROM = '2026-11-26T08:00:00.000Z';

test('there are never more bars than a reader can distinguish, and nothing is lost', () => {
  const few = bucketsOf(FROM, 60, [1, 2, 3]);
  expect([few.counts, few.ms, few.from]).toEqual([[1, 2, 3], 60_000, Date.parse(FROM)]);
  const counts = Array.from({ length: 500 }, (_, at) => at);
  const many = bucketsOf(FROM, 60, counts);
  expect(many.counts.length).toBeLessThanOrEqual(BARS_MAX);
  expect(many.counts.reduce((sum, count) => sum + count, 0)).toBe(counts.reduce((sum, count) => sum + count, 0));
  // The last bar ends when the last bucket ends.
  expect(many.from + many.ms * many.counts.length).toBe(Date.parse(FROM) + 500 * 60_000);
});

test('a single event among many can be seen, and none has no bar', () => {
  const [none, one, most] = heightsOf([0, 1, 10_000]);
  expect([none, most]).toEqual([0, 1]);
  expect(one).toBeGreaterThan(0.05);
  expect(heightsOf([0, 0])).toEqual([0, 0]);
});

test('a choice covers its bars, in either direction, and ends when the next one begins', () => {
  const buckets = bucketsOf(FROM, 60, [1, 2, 3, 4]);
  const covered = { first: 1, last: 2, since: '2026-11-26T08:01:00.000Z', until: '2026-11-26T08:03:00.000Z', count: 5 };
  expect(coveredBy(buckets, { anchor: 1, head: 2 })).toEqual(covered);
  expect(coveredBy(buckets, { anchor: 2, head: 1 })).toEqual(covered);
});

test('arrows move the choice, and Shift makes it longer', () => {
  const last = moved(null, 'ArrowLeft', false, 4);
  expect(last).toEqual({ anchor: 3, head: 3 });
  expect(moved(last, 'ArrowLeft', true, 4)).toEqual({ anchor: 3, head: 2 });
  expect(moved({ anchor: 3, head: 2 }, 'ArrowLeft', false, 4)).toEqual({ anchor: 1, head: 1 });
  expect(moved(last, 'ArrowRight', true, 4)).toEqual({ anchor: 3, head: 3 });
  expect(moved(last, 'Home', true, 4)).toEqual({ anchor: 3, head: 0 });
  expect(moved(last, 'x', false, 4)).toBeNull();
  expect(moved(null, 'Home', false, 0)).toBeNull();
});

test('a pointer beyond the ends is at the first or the last bar', () => {
  expect([-0.2, 0, 0.49, 0.51, 1, 3].map((place) => barAt(place, 2))).toEqual([0, 0, 0, 1, 1, 1]);
});
