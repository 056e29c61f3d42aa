/** Failures by their cause, so that one reads each cause once. */

import type { Execution, Failure } from '../../api/types.ts';

export interface Cause {
  key: string;
  /** The last one that failed for it. */
  newest: Execution;
  error: Failure;
  count: number;
}

/** A failed step fails its workflow: only the step is a cause. */
const CONSEQUENCES: ReadonlySet<string> = new Set(['child_failed', 'cancelled']);

/** Leaves out of a message what differs each time: ids, numbers, and all but the first line. */
export function pattern(message: string): string {
  return (message.split('\n')[0] ?? '')
    .replace(/\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/gi, '#')
    .replace(/\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b/gi, '#')
    .replace(/\d+(\.\d+)?/g, '#')
    .trim();
}

/** An exit code says what failed, unlike other numbers. */
const keyOf = (action: string, error: Failure): string =>
  [action, error.kind, error.kind === 'exit_code' || error.kind === 'http_status' ? error.detail : '', pattern(error.message)].join('\n');

/** Groups executions, newest first, by action and error. The causes of most failures come first. */
export function causes(failed: readonly Execution[]): Cause[] {
  const groups = new Map<string, Cause>();
  for (const execution of failed) {
    const { error } = execution;
    if (!error || CONSEQUENCES.has(error.kind)) continue;
    const key = keyOf(execution.action, error);
    const known = groups.get(key);
    if (known) known.count += 1;
    else groups.set(key, { key, newest: execution, error, count: 1 });
  }
  return [...groups.values()].sort((one, other) => other.count - one.count);
}
