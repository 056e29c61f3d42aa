import { expect, test } from 'vitest';
import type { Backtest, BacktestEvent } from '../../api/types.ts';
import { differences, startOf, totals } from './backtest.ts';

const event = (id: string, position: number): BacktestEvent => ({ event: id, position, error: null, happened: null, would: null });
const backtest: Backtest = {
  after: 0, until: 9, judged: 5, unreadable: 0, matched: 1,
  happened: { executed: 2, held: 1 },
  would: { executed: 3 },
  new: { count: 2, events: [event('a', 1), event('c', 7)] },
  lost: { count: 2, events: [event('b', 5), event('d', 3)] },
  erred: { count: 1, events: [event('b', 5)] },
};

test('each event that differs is there once, the newest first', () => {
  expect(differences(backtest).map(({ event: id, sign }) => [id, sign])).toEqual([['c', 'new'], ['b', 'erred'], ['d', 'lost'], ['a', 'new']]);
});

test('outcomes of either side are counted', () => {
  expect(totals(backtest)).toEqual([{ outcome: 'executed', happened: 2, would: 3 }, { outcome: 'held', happened: 1, would: 0 }]);
});

test('a span begins before now, and all times begin with the first event', () => {
  const now = Date.parse('2026-11-26T08:00:00Z');
  expect(startOf('24h', now)).toBe('2026-11-25T08:00:00.000Z');
  expect(startOf('all', now)).toBe('1970-01-01T00:00:00.000Z');
});
