import { expect, test } from 'vitest';
import type { Execution, Failure, Inquiry, WaitKind, WaitsFor } from '../../api/types.ts';
import { causes, pattern } from './failures.ts';
import { fold, wayOf, type StuckRow } from './stuck.ts';

function waiting(id: string, kind: WaitKind, of: string | null = null, lock?: string): Execution {
  const waits: WaitsFor = { kind, of, since: null, until: null, holders: [], frees_it: null };
  const awaits_lock = lock === undefined ? null : { key: lock };
  return { id, action: 'p.a', labels: {}, waits_for: waits, awaits_lock } as unknown as Execution;
}

function failed(id: string, action: string, kind: string, message: string, detail: number | null = null): Execution {
  return { id, action, error: { kind, message, detail } as Failure } as unknown as Execution;
}

const everything = (): boolean => true;
const nothing = (): boolean => false;
const row = (execution: Execution): StuckRow => fold([execution])[0] ?? expect.fail('it waits for nothing');
const wayTo = (kind: WaitKind, may = everything, inquiry?: Inquiry): string => {
  const way = wayOf(row(waiting('1', kind, 'x')), may, inquiry);
  return way.way === 'link' ? `${way.word} ${way.href}` : way.way;
};

test('what waits for the same queue or lock is one row, at the place of the first', () => {
  const stuck = [
    waiting('1', 'worker', 'default'),
    waiting('2', 'lock', 'p.a', 'k1'),
    waiting('3', 'worker', 'default'),
    waiting('4', 'lock', 'p.a', 'k2'),
    waiting('5', 'lock', 'p.a', 'k1'),
    waiting('6', 'answer', 'q'),
    waiting('7', 'answer', 'q'),
  ];
  expect(fold(stuck).map(({ execution, others }) => [execution.id, others])).toEqual([['1', 1], ['2', 1], ['4', 0], ['6', 0], ['7', 0]]);
});

test('each kind of wait has the one thing that frees it', () => {
  const asked = { may_answer: true } as Inquiry;
  expect(wayTo('answer', everything, asked)).toBe('answer /ui/inbox/x');
  expect(wayTo('answer')).toBe('question /ui/inbox/x');
  expect(wayTo('settling')).toBe('settle');
  expect(wayTo('resume')).toBe('resume');
  expect(wayTo('lock')).toBe('holder');
  expect(wayTo('worker')).toBe('queue /ui/waiting?kind=queue#queue-x');
  expect(wayTo('retry')).toBe('attempts /ui/executions/1?tab=attempts');
  expect(wayTo('event')).toBe('look /ui/executions/1');
});

test('a caller who may see nothing else gets a link to the execution', () => {
  for (const kind of ['answer', 'worker', 'event'] as const) expect(wayTo(kind, nothing)).toBe('look /ui/executions/1');
  const way = wayOf(row(waiting('1', 'lock', 'p.a', 'k')), nothing, undefined);
  expect(way.way === 'holder' && way.otherwise.word).toBe('look');
});

test('failures with the same cause are one group, whatever ids and numbers their messages have', () => {
  const groups = causes([
    failed('5', 'p.a', 'http_status', 'status 503 after 12 ms', 503),
    failed('4', 'p.a', 'http_status', 'status 503 after 900 ms', 503),
    failed('3', 'p.a', 'http_status', 'status 404 after 3 ms', 404),
    failed('2', 'p.b', 'http_status', 'status 503 after 3 ms', 503),
    failed('1', 'p.w', 'child_failed', 'the step `a` failed'),
  ]);
  expect(groups.map(({ newest, count }) => [newest.id, count])).toEqual([['5', 2], ['3', 1], ['2', 1]]);
});

test('a pattern keeps the words of a message', () => {
  expect(pattern('no order 019d3450-be07-7000-8000-070000000000 of deadbeef01\nmore')).toBe('no order # of #');
  expect(pattern('the facade is defaced')).toBe('the facade is defaced');
});
