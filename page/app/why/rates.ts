/** How often rules matched, and how often they erred, in each hour. */

import { call, type Answer } from '../api/call.ts';
import type { Series } from '../api/types.ts';
import { bucketsOf, type Buckets } from '../parts/bars.ts';
import { session } from '../session.svelte.ts';

const HOUR_MS = 3_600_000;

/** Returns the start of the last hours. The last of them is the current one. */
function since(hours: number): string {
  return new Date(Math.floor(Date.now() / HOUR_MS) * HOUR_MS - (hours - 1) * HOUR_MS).toISOString();
}

/** Reads the matches of all rules together, of each, or of one. Returns null if the caller may not read them. */
export async function readMatches(of: { hours: number; by?: 'rule'; rule?: string | undefined }, signal: AbortSignal): Promise<Answer<Series | null>> {
  if (!session.may('enforcements:read')) return { value: null, position: 0 };
  return call('GET /series', { query: { of: 'enforcements', bucket: '1h', by: of.by, rule: of.rule, since: since(of.hours) }, signal });
}

/** Reads the events by what became of them. Returns null if the caller may not read them. */
export async function readEvents(of: { hours: number }, signal: AbortSignal): Promise<Answer<Series | null>> {
  if (!session.may('events:read')) return { value: null, position: 0 };
  return call('GET /series', { query: { of: 'events', by: 'outcome', bucket: '1h', since: since(of.hours) }, signal });
}

/** Reads how often one rule erred. Returns null if the caller may not read it. */
export async function readErrors(of: { hours: number; rule: string }, signal: AbortSignal): Promise<Answer<Series | null>> {
  if (!session.may('rules:read')) return { value: null, position: 0 };
  return call('GET /series', { query: { of: 'rule_errors', by: 'outcome', bucket: '1h', rule: of.rule, since: since(of.hours) }, signal });
}

/** Returns one row of a series as bars; without a key, all of them together. */
export function barsOf(series: Series, key?: string): Buckets {
  const rows = key === undefined ? series.rows : series.rows.filter((row) => row.key === key);
  const length = Math.round((Date.parse(series.until) - Date.parse(series.from)) / 1_000 / series.bucket_seconds);
  const counts = Array.from({ length }, (_, at) => rows.reduce((sum, row) => sum + (row.counts[at] ?? 0), 0));
  return bucketsOf(series.from, series.bucket_seconds, counts);
}
