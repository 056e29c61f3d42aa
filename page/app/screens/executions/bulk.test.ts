import { expect, test } from 'vitest';
import { CallError, type Answer } from '../../api/call.ts';
import type { Changed, ChangedList, Problem } from '../../api/types.ts';
import { BULKS, BulkRun, meantBy, statusesFor, type Meant } from './bulk.svelte.ts';

const NOW = Date.parse('2026-03-28T03:12:40Z');

function meant(filters: Record<string, string[]>): Meant {
  const found = meantBy(filters, NOW);
  if ('unknown' in found) throw new Error(`unknown: ${found.unknown.join(', ')}`);
  return found;
}

const changed = (execution: string, more: Partial<Changed> = {}): Changed => ({ execution, error: null, position: 1, rerun: null, rerun_before: null, ...more });
const answer = (items: Changed[], next: string | null): Answer<ChangedList> => ({ value: { items, next }, position: 1 });
const refusal = { code: 'execution_not_open', detail: 'it has ended', hint: null, status: 409 } as Changed['error'];

test('what is meant is fixed when the dialog opens', () => {
  expect(meant({ action: ['p.ship'], since: ['1h'] })).toEqual({
    query: { action: ['p.ship'], since: ['2026-03-28T02:12:40.000Z'], until: ['2026-03-28T03:12:40.000Z'] },
    statuses: [],
    until: '2026-03-28T03:12:40.000Z',
    isCounted: true,
    withSteps: false,
  });
  expect(meant({ until: ['2026-03-01T00:00:00Z'] }).until).toBe('2026-03-01T00:00:00Z');
  expect(meant({ until: ['2027-01-01T00:00:00Z'] }).until).toBe('2026-03-28T03:12:40.000Z');
  expect(meant({ error_kind: ['exit_code'] }).isCounted).toBe(false);
});

test('a filter that the operation does not have is named, not left out', () => {
  expect(meantBy({ waits_for: ['lock'], attempts_min: ['2'] }, NOW)).toEqual({ unknown: ['waits_for', 'attempts_min'] });
  expect(meantBy({ is_root: ['false'] }, NOW)).toEqual({ unknown: ['is_root'] });
  expect(meant({ is_root: ['true'] }).query).toEqual({ until: ['2026-03-28T03:12:40.000Z'] });
  expect(meantBy({ is_root: ['true'], parent: ['x'] }, NOW)).toEqual({ unknown: ['is_root'] });
});

test('only states in which it can be done are requested', () => {
  const [cancel, , resume] = BULKS;
  if (!cancel || !resume) throw new Error('there are no operations');
  expect(statusesFor(cancel, meant({ status: ['waiting', 'failed'] }))).toEqual(['waiting']);
  expect(statusesFor(cancel, meant({ action: ['x'] }))).toEqual(cancel.statuses);
  expect(statusesFor(resume, meant({ status: ['failed'] }))).toEqual([]);
});

test('pages follow each other under one key, and each refusal is kept', async () => {
  const sent: [string | undefined, string][] = [];
  const pages = [answer([changed('a'), changed('b', { error: refusal })], 'p2'), answer([changed('c'), changed('d', { rerun_before: 'x' })], null)];
  const run = new BulkRun({ action: ['x'] }, (query, key) => {
    sent.push([query.cursor, key]);
    return Promise.resolve(pages[sent.length - 1] ?? answer([], null));
  });
  await run.run();
  expect(sent.map(([cursor]) => cursor)).toEqual([undefined, 'p2']);
  expect(new Set(sent.map(([, key]) => key)).size).toBe(1);
  expect([run.phase, run.changed, run.refusedCount, run.leftOut]).toEqual(['done', 2, 1, 1]);
  expect(run.refused).toEqual([{ execution: 'b', reason: 'it has ended' }]);
});

test('a stop ends it after the current page, and it continues from there', async () => {
  const cursors: (string | undefined)[] = [];
  const run: BulkRun = new BulkRun({ action: ['x'] }, (query) => {
    cursors.push(query.cursor);
    if (cursors.length === 1) run.stop();
    return Promise.resolve(answer([changed(`e${cursors.length}`)], cursors.length < 3 ? `p${cursors.length + 1}` : null));
  });
  await run.run();
  expect([run.phase, run.changed]).toEqual(['stopped', 1]);
  await run.run();
  expect([run.phase, run.changed]).toEqual(['done', 3]);
  expect(cursors).toEqual([undefined, 'p2', 'p3']);
});

test('a page that fails is sent again', async () => {
  let tries = 0;
  const run = new BulkRun({ action: ['x'] }, () => {
    tries += 1;
    if (tries === 1) return Promise.reject(new CallError({ code: 'busy', title: 'busy' } as Problem, 503));
    return Promise.resolve(answer([changed('a')], null));
  });
  await run.run();
  expect([run.phase, run.changed]).toEqual(['failed', 0]);
  await run.run();
  expect([run.phase, run.changed, run.error]).toEqual(['done', 1, null]);
});
