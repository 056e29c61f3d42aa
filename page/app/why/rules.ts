/** Numbers of rules. */

import type { Rule } from '../api/types.ts';

/** Returns how many matches a rule had. What it holds became, or becomes, one of the others. */
export function matchesOf(rule: Pick<Rule, 'matched'>): number {
  return Object.values(rule.matched ?? {}).reduce((sum, count) => sum + count, 0);
}
