/** What was typed into forms that run actions. It lives in memory until the action runs, and is never stored. */

import { emptyTyped, type Typed } from './request.ts';

const kept = new Map<string, Typed>();

/** Returns what was typed for an action, and whether that is new. */
export function typedOf(action: string): { typed: Typed; isNew: boolean } {
  const known = kept.get(action);
  if (known) return { typed: known, isNew: false };
  const typed: Typed = $state(emptyTyped());
  kept.set(action, typed);
  return { typed, isNew: true };
}

export function dropTyped(action: string): void {
  kept.delete(action);
}
