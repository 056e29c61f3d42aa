import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Backtest, RunningBacktest } from '../../api/types.ts';
import { Running } from './running.svelte.ts';

const none = { count: 0, events: [] };
const found = (judged: number): Backtest => ({ after: 0, until: 9, judged, unreadable: 0, matched: 0, happened: {}, would: {}, new: none, lost: none, erred: none });
const shown = (given: Partial<RunningBacktest>): RunningBacktest => ({ id: 'b1', rule: 'bill.big', status: 'running', progress: 0, began_at: '2026-11-26T08:00:00Z', result: null, error: null, ...given });

let asked: string[];

beforeEach(() => {
  vi.useFakeTimers();
  asked = [];
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

/** Answers requests in their order. The last answer is for all that follow. */
function answering(...answers: object[]): void {
  vi.stubGlobal('fetch', (address: string, init: RequestInit) => {
    asked.push(`${init.method ?? ''} ${address.replace('/api/v1', '')}`);
    if (init.method === 'DELETE') return Promise.resolve(new Response(null, { status: 204 }));
    const answer = answers.length > 1 ? answers.shift() : answers[0];
    return Promise.resolve(new Response(JSON.stringify(answer), { headers: { 'content-type': 'application/json' } }));
  });
}

test('a backtest shows how far it is, then its result, and is forgotten by the node', async () => {
  answering(shown({}), shown({ progress: 0.4, result: found(4) }), shown({ status: 'succeeded', progress: 1, result: found(10) }));
  const running = new Running();
  const ended = running.run({ rule: 'bill.big' });
  await vi.advanceTimersByTimeAsync(0);
  expect([running.isRunning, running.progress]).toEqual([true, 0]);
  await vi.advanceTimersByTimeAsync(500);
  expect([running.isRunning, running.progress, running.result?.judged]).toEqual([true, 0.4, 4]);
  await vi.advanceTimersByTimeAsync(500);
  await ended;
  expect([running.isRunning, running.result?.judged]).toEqual([false, 10]);
  expect(asked).toEqual(['POST /rules/backtest', 'GET /backtests/b1', 'GET /backtests/b1', 'DELETE /backtests/b1']);
});

test('one that is stopped keeps what it has found, and the node is not asked again', async () => {
  answering(shown({}), shown({ progress: 0.4, result: found(4) }));
  const running = new Running();
  const ended = running.run({ rule: 'bill.big' });
  await vi.advanceTimersByTimeAsync(500);
  await running.stop();
  await vi.advanceTimersByTimeAsync(5_000);
  await ended;
  expect([running.isRunning, running.isStopped, running.result?.judged]).toEqual([false, true, 4]);
  expect(asked).toEqual(['POST /rules/backtest', 'GET /backtests/b1', 'DELETE /backtests/b1']);
});

test('one that is stopped before the node has answered is stopped there as well', async () => {
  answering(shown({}));
  const running = new Running();
  const ended = running.run({ rule: 'bill.big' });
  await running.stop();
  await ended;
  await vi.advanceTimersByTimeAsync(1_000);
  expect(running.isRunning).toBe(false);
  expect(asked).toEqual(['POST /rules/backtest', 'DELETE /backtests/b1']);
});

test('one that fails says why', async () => {
  answering(shown({ status: 'failed', error: { code: 'takes_too_long', detail: 'It took longer than 10 minutes.', hint: null } }));
  const running = new Running();
  await running.run({ rule: 'bill.big' });
  expect([running.isRunning, running.error?.code, running.error?.problem?.title]).toEqual([false, 'takes_too_long', 'It took longer than 10 minutes.']);
});
