import { expect, test } from 'vitest';
import type { Execution, GraphNode } from '../../api/types.ts';
import { failedParts, firstFailed, mostUrgent } from './steps.ts';

const step = (name: string, state: GraphNode['state'], counts: Record<string, number> = {}): GraphNode =>
  ({ step: name, state, counts }) as GraphNode;

test('the first step that failed is found, also among items', () => {
  expect(firstFailed([step('a', 'succeeded'), step('b', 'running', { failed: 1, running: 9_999 }), step('c', 'failed')])?.step).toBe('b');
  expect(firstFailed([step('a', 'succeeded')])).toBeUndefined();
});

test('of several steps, the one that needs attention first is found', () => {
  expect(mostUrgent([step('a', 'succeeded'), step('b', 'waiting'), step('c', 'to_come')]).step).toBe('b');
  expect(mostUrgent([step('a', 'succeeded'), step('b', 'running', { failed: 1 })]).step).toBe('b');
});

test('what failed is listed by item, also what failed before there was an execution', () => {
  const execution = (id: string, item: number, undoes = false): Execution =>
    ({ id, item, step: 'each', status: 'failed', undoes, error: { message: `broken ${item}` } }) as Execution;
  const workflow = {
    not_started: [
      { step: 'each', item: 3, error: { message: 'does not fit' } },
      { step: 'later', item: null, error: null },
    ],
  } as unknown as Execution;
  expect(failedParts([execution('x', 7), execution('u', 1, true)], workflow)).toEqual([
    { step: 'each', item: 3, execution: null, status: 'failed', message: 'does not fit' },
    { step: 'each', item: 7, execution: 'x', status: 'failed', message: 'broken 7' },
  ]);
});
