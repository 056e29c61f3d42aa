/** What is stuck, and the one thing that frees it. */

import type { Execution, Inquiry, WaitsFor } from '../../api/types.ts';
import { link } from '../../router.svelte.ts';

export interface StuckRow {
  execution: Execution;
  waits: WaitsFor;
  /** How many others wait for the same queue or lock. */
  others: number;
}

/** Makes one row of all that wait for the same queue or the same lock: what frees the first frees the others. */
export function fold(stuck: readonly Execution[]): StuckRow[] {
  const rows: StuckRow[] = [];
  const shared = new Map<string, StuckRow>();
  for (const execution of stuck) {
    const waits = execution.waits_for;
    if (!waits) continue;
    const key = waits.kind === 'worker' ? `worker ${waits.of}` : waits.kind === 'lock' ? `lock ${execution.awaits_lock?.key}` : null;
    const first = key === null ? undefined : shared.get(key);
    if (first) {
      first.others += 1;
      continue;
    }
    const row = { execution, waits, others: 0 };
    rows.push(row);
    if (key !== null) shared.set(key, row);
  }
  return rows;
}

/** What frees an execution: a link, or an operation that is offered to callers with its permission. */
export type Way =
  | { way: 'link'; word: 'answer' | 'question' | 'lock' | 'queue' | 'attempts' | 'look'; href: string }
  | { way: 'settle' | 'resume' | 'holder'; permission: string; otherwise: { word: 'lock' | 'look'; href: string } };

/** Returns the one thing that frees an execution. */
export function wayOf({ execution, waits }: StuckRow, may: (permission: string) => boolean, inquiry: Inquiry | undefined): Way {
  const look = { word: 'look', href: link(`/executions/${execution.id}`) } as const;
  switch (waits.kind) {
    case 'answer':
      if (!waits.of || !may('inquiries:read')) return { way: 'link', ...look };
      return { way: 'link', word: inquiry?.may_answer && may('inquiries:answer') ? 'answer' : 'question', href: link(`/inbox/${waits.of}`) };
    case 'settling':
      return { way: 'settle', permission: 'executions:settle', otherwise: look };
    case 'resume':
      return { way: 'resume', permission: 'executions:pause', otherwise: look };
    case 'lock': {
      const lock = { word: 'lock', href: link('/waiting', { kind: 'lock' }) } as const;
      return { way: 'holder', permission: 'executions:cancel', otherwise: may('locks:read') ? lock : look };
    }
    case 'worker':
      return may('queues:read') ? { way: 'link', word: 'queue', href: `${link('/waiting', { kind: 'queue' })}#queue-${waits.of ?? ''}` } : { way: 'link', ...look };
    case 'retry':
      return { way: 'link', word: 'attempts', href: link(`/executions/${execution.id}`, { tab: 'attempts' }) };
    default:
      return { way: 'link', ...look };
  }
}
