/** What a rule decided about events, grouped by the parts of its condition that decided. */

import type { JudgedEvent, Judgement } from '../../api/types.ts';

export const VERDICTS = ['not_matched', 'erred', 'matched', 'undecided'] as const satisfies readonly Judgement[];

export interface Group {
  key: string;
  verdict: Judgement;
  /** The parts that decided, as they are written. Empty for a rule without a condition. */
  decisive: readonly string[];
  events: readonly JudgedEvent[];
}

/** Returns the groups of several pages together, the largest first. Within a group, the newest event is first. */
export function groupsOf(items: readonly JudgedEvent[]): Group[] {
  const groups = new Map<string, { key: string; verdict: Judgement; decisive: readonly string[]; events: JudgedEvent[] }>();
  for (const item of items) {
    const key = JSON.stringify([item.verdict, item.decisive]);
    const group = groups.get(key) ?? { key, verdict: item.verdict, decisive: item.decisive, events: [] };
    group.events.push(item);
    groups.set(key, group);
  }
  return [...groups.values()].sort((one, other) => other.events.length - one.events.length);
}
