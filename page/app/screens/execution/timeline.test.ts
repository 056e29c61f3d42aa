import { expect, test } from 'vitest';
import type { Spans, Status } from '../../api/types.ts';
import { readView, rowsOf, scaleOf, viewOf, writeView, WHOLE } from './timeline.ts';

interface Span {
  id: string;
  parent?: number;
  step?: string;
  item?: number;
  undoes?: boolean;
  status?: Status;
  from?: number;
  to?: number | null;
  attempts?: number;
  waits?: number | null;
}

function spansOf(all: Span[]): Spans {
  return {
    began_at: '2026-03-28T12:00:00Z',
    truncated: false,
    id: all.map((one) => one.id),
    parent: all.map((one) => one.parent ?? null),
    step: all.map((one) => one.step ?? null),
    item: all.map((one) => one.item ?? null),
    undoes: all.map((one) => one.undoes ?? false),
    status: all.map((one) => one.status ?? 'succeeded'),
    from_us: all.map((one) => one.from ?? 0),
    to_us: all.map((one) => (one.to === undefined ? 10 : one.to)),
    attempts: all.map((one) => one.attempts ?? 1),
    waits_us: all.map((one) => (one.waits === undefined ? 0 : one.waits)),
  };
}

test('each workflow comes before its steps, also where columns are not in that order', () => {
  const spans = spansOf([{ id: 'root' }, { id: 'a', parent: 0, step: 'a' }, { id: 'b', parent: 0, step: 'b' }, { id: 'a1', parent: 1, step: 'inner' }]);
  expect(rowsOf(spans, new Set()).map((row) => [row.key, row.depth])).toEqual([['root', 0], ['a', 1], ['a1', 2], ['b', 1]]);
});

test('items are one row with counts, and failed items have rows of their own', () => {
  const items = Array.from({ length: 10_000 }, (_, at): Span => ({ id: `i${at}`, parent: 0, step: 'each', item: at, from: at, to: at + 5, status: at === 7_777 ? 'failed' : 'succeeded' }));
  const spans = spansOf([{ id: 'root' }, ...items]);
  const rows = rowsOf(spans, new Set());
  expect(rows.map((row) => row.key)).toEqual(['root', 'of i0', 'i7777']);
  expect(rows[1]).toMatchObject({ counts: { succeeded: 9_999, failed: 1 }, from: 0, to: 10_004 });
  expect(rowsOf(spans, new Set(['of i0'])).length).toBe(10_002);
});

test('a row of items of which one is open is open', () => {
  const spans = spansOf([{ id: 'root' }, { id: 'a', parent: 0, step: 's', item: 0 }, { id: 'b', parent: 0, step: 's', item: 1, to: null, status: 'running' }]);
  expect(rowsOf(spans, new Set())[1]?.to).toBeNull();
});

test('an undo of a step is a row of its own', () => {
  const spans = spansOf([{ id: 'root' }, { id: 'a', parent: 0, step: 'take' }, { id: 'u', parent: 0, step: 'take', undoes: true }]);
  expect(rowsOf(spans, new Set()).map((row) => row.key)).toEqual(['root', 'a', 'u']);
});

test('items and the undos of items are a row each', () => {
  const items = (undoes: boolean): Span[] => [0, 1].map((item) => ({ id: `${undoes ? 'u' : 'i'}${item}`, parent: 0, step: 'take', item, undoes }));
  const spans = spansOf([{ id: 'root' }, ...items(false), ...items(true)]);
  expect(rowsOf(spans, new Set()).map((row) => [row.key, row.members?.length])).toEqual([['root', undefined], ['of i0', 2], ['of u0', 2]]);
});

test('places and times are each other turned around', () => {
  const spans = spansOf([{ id: 'root', to: 1_000 }, { id: 'a', parent: 0, step: 'a', from: 100, to: 200 }]);
  for (const isFolded of [false, true]) {
    const scale = scaleOf(spans, 1_000, isFolded);
    expect([scale.place(0), scale.place(1_000)]).toEqual([0, expect.closeTo(1, 9)]);
    for (const time of [0, 100, 150, 200, 999]) expect(scale.time(scale.place(time))).toBeCloseTo(time, 6);
  }
});

test('idle time is folded: nothing ran, and only a question was open', () => {
  const hour = 3_600_000_000;
  const spans = spansOf([
    { id: 'root', to: hour, attempts: 0 },
    { id: 'build', parent: 0, step: 'build', from: 0, to: 1_000_000 },
    { id: 'ask', parent: 0, step: 'ask', from: 1_000_000, to: hour - 1_000_000, attempts: 0 },
    { id: 'deploy', parent: 0, step: 'deploy', from: hour - 1_000_000, to: hour },
  ]);
  expect(scaleOf(spans, hour, false).folds).toEqual([]);
  const scale = scaleOf(spans, hour, true);
  expect(scale.folds.map(({ from, to }) => [from, to])).toEqual([[1_000_000, hour - 1_000_000]]);
  expect(scale.place(1_000_000)).toBeGreaterThan(0.4);
  expect(scale.place(hour - 1_000_000)).toBeLessThan(0.6);
});

test('time in which something ran is not folded', () => {
  const spans = spansOf([{ id: 'root', to: 1_000, attempts: 0 }, { id: 'a', parent: 0, step: 'a', from: 0, to: 1_000 }]);
  expect(scaleOf(spans, 1_000, true).folds).toEqual([]);
});

test('a view stays within the whole, and is written as it is read', () => {
  expect(viewOf(-0.5, 0.1)).toEqual({ from: 0, to: expect.closeTo(0.6, 9) });
  expect(viewOf(0.8, 0.2)).toEqual({ from: 0.2, to: expect.closeTo(0.8, 9) });
  expect(viewOf(0, 2)).toEqual(WHOLE);
  expect(readView('0.25-0.5')).toEqual({ from: 0.25, to: 0.5 });
  for (const wrong of [null, '', 'x', '1', '0.5-0.5', 'NaN-1']) expect(readView(wrong)).toEqual(WHOLE);
  expect(writeView(WHOLE)).toBeUndefined();
  expect(readView(writeView({ from: 0.25, to: 0.5 }) ?? null)).toEqual({ from: 0.25, to: 0.5 });
});
