import { expect, test } from 'vitest';
import type { JudgedEvent } from '../../api/types.ts';
import { groupsOf } from './judgements.ts';

const judged = (event: string, decisive: string[], verdict: JudgedEvent['verdict'] = 'not_matched'): JudgedEvent => ({
  event, decisive, verdict, position: 1, received_at: '2026-11-26T08:00:00Z', trigger: 'bill.invoice', why: [],
});

test('events are grouped by the parts that decided, the most frequent first', () => {
  const groups = groupsOf([judged('a', ['x > 1']), judged('b', ['y']), judged('c', ['y']), judged('d', ['x > 1', 'y'])]);
  expect(groups.map((group) => [group.decisive, group.events.map((one) => one.event)])).toEqual([[['y'], ['b', 'c']], [['x > 1'], ['a']], [['x > 1', 'y'], ['d']]]);
});

test('the same part with another verdict is another group', () => {
  expect(groupsOf([judged('a', ['x']), judged('b', ['x'], 'erred')]).map((group) => group.verdict)).toEqual(['not_matched', 'erred']);
});

test('parts are not confused with others that look the same together', () => {
  expect(groupsOf([judged('a', ['x', 'y']), judged('b', ['x","y'])])).toHaveLength(2);
});
