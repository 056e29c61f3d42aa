import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Rows, type Row, type RowQuery } from './rows.svelte.ts';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

const row = (position: number): Row => ({ id: `row-${position}`, position });

/** A list whose reads take this long, and what it was asked for. */
async function listed(tookMs: number): Promise<{ rows: Rows<Row>; asked: RowQuery[] }> {
  const asked: RowQuery[] = [];
  const rows = new Rows<Row>(async (query) => {
    asked.push(query);
    await new Promise((done) => setTimeout(done, tookMs));
    return { value: { items: (query.id ?? ['row-1']).map((id) => row(Number(id.slice(4)))), next: null }, position: 0 };
  });
  rows.again();
  await vi.advanceTimersByTimeAsync(5_000);
  asked.length = 0;
  return { rows, asked };
}

/** Changes a new row every 50 ms, for 10 s. */
async function beBusy(rows: Rows<Row>, all: boolean): Promise<void> {
  for (let at = 2; at < 202; at += 1) {
    rows.changed(new Set(all ? [] : [`row-${at}`]), all);
    await vi.advanceTimersByTimeAsync(50);
  }
  await vi.advanceTimersByTimeAsync(5_000);
}

test('a change after a quiet time is read at once, and the rows that changed with it in the same request', async () => {
  const { rows, asked } = await listed(5);
  rows.changed(new Set(['row-2']), false);
  rows.changed(new Set(['row-3']), false);
  await vi.advanceTimersByTimeAsync(10);
  expect(asked.map(({ id }) => id)).toEqual([['row-2', 'row-3']]);
  expect(rows.items.map(({ id }) => id)).toEqual(['row-3', 'row-2', 'row-1']);
});

test('a busy list is read a few times a second, and no row is missing', async () => {
  const { rows, asked } = await listed(5);
  await beBusy(rows, false);
  expect(asked.length).toBeGreaterThan(35);
  expect(asked.length).toBeLessThanOrEqual(51);
  expect(rows.items.length).toBe(201);
  const whole = await listed(5);
  await beBusy(whole.rows, true);
  expect(whole.asked.length).toBeGreaterThan(15);
  expect(whole.asked.length).toBeLessThanOrEqual(21);
});

test('a list that is slow to read is read less often', async () => {
  const { rows, asked } = await listed(400);
  await beBusy(rows, false);
  expect(asked.length).toBeLessThanOrEqual(6);
  expect(rows.items.length).toBe(201);
});
