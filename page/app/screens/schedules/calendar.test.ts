import { expect, test } from 'vitest';
import { WEEK_MS, byDay, daysOf, gridOf, hourOf, periodOf } from './calendar.ts';

const at = (day: number, hour: number, minute = 0) => ({ at: new Date(2026, 10, day, hour, minute).toISOString(), rule: 'p.r', sensor: null });
const from = new Date(2026, 10, 26, 8, 30).getTime();

test('an address without a period is the week from now on', () => {
  expect(periodOf(null, null, from)).toEqual({ from, to: from + WEEK_MS });
  expect(periodOf('nonsense', 'nonsense', from)).toEqual({ from, to: from + WEEK_MS });
  expect(periodOf('2026-11-26T00:00:00Z', '2026-11-25T00:00:00Z', from).to).toBe(Date.parse('2026-11-26T00:00:00Z') + WEEK_MS);
});

test('a week that begins within a day has eight days, and a week from midnight has seven', () => {
  expect(daysOf({ from, to: from + WEEK_MS }).length).toBe(8);
  const midnight = new Date(2026, 10, 26).getTime();
  expect(daysOf({ from: midnight, to: midnight + WEEK_MS }).length).toBe(7);
});

test('the grid counts times by hour and day', () => {
  const { counts } = gridOf([at(26, 9), at(26, 9, 30), at(27, 0), at(28, 23, 59)], { from, to: from + WEEK_MS });
  expect([counts[9]?.[0], counts[0]?.[1], counts[23]?.[2]]).toEqual([2, 1, 1]);
  expect(counts.flat().reduce((sum, count) => sum + count, 0)).toBe(4);
});

test('a cell is the hour that it counts', () => {
  const { from: start, to } = hourOf(new Date(2026, 10, 27).getTime(), 3);
  expect([new Date(start).getHours(), to - start]).toEqual([3, 3_600_000]);
});

test('times are grouped by day in their order', () => {
  expect(byDay([at(26, 9), at(26, 10), at(28, 1)]).map(({ due }) => due.length)).toEqual([2, 1]);
});
