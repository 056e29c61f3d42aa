/** A backtest as rows: each event on which the rule would do something else than it did. */

import type { Backtest, BacktestEvent } from '../../api/types.ts';

export type Sign = 'new' | 'lost' | 'erred';

export interface Difference extends BacktestEvent {
  sign: Sign;
}

/** Returns the differences, the newest first. An event can be lost because the rule errs on it: then it is there once. */
export function differences(backtest: Backtest): Difference[] {
  const seen = new Map<string, Difference>();
  for (const sign of ['erred', 'lost', 'new'] as const) {
    for (const event of backtest[sign].events) if (!seen.has(event.event)) seen.set(event.event, { ...event, sign });
  }
  return [...seen.values()].sort((one, other) => other.position - one.position);
}

/** Returns the outcomes of both sides, each with how often it happened and would have. */
export function totals(backtest: Backtest): { outcome: string; happened: number; would: number }[] {
  const outcomes = [...new Set([...Object.keys(backtest.happened), ...Object.keys(backtest.would)])].sort();
  return outcomes.map((outcome) => ({ outcome, happened: backtest.happened[outcome] ?? 0, would: backtest.would[outcome] ?? 0 }));
}

/** Returns the start of a span before now, or null for all times. */
export function startOf(span: string, now: number): string {
  const HOURS: Record<string, number> = { '1h': 1, '24h': 24, '7d': 168, '30d': 720 };
  const hours = HOURS[span];
  return new Date(hours === undefined ? 0 : now - hours * 3_600_000).toISOString();
}
