/** Keeps a trace up to date while something in it is open. */

import { untrack } from 'svelte';
import { live } from '../api/live.svelte.ts';
import type { Resource } from '../api/resource.svelte.ts';
import type { Trace } from '../api/types.ts';
import { asOf } from '../parts/asOf.ts';
import { session } from '../session.svelte.ts';

/** A busy node changes executions all the time; a trace is read again this often at most. */
const PAUSE_MS = 1_000;
/** What a new event leads to has begun by then, unless a rule holds it. */
const NEW_FOR_MS = 60_000;

/** Whether more can follow, so that changes elsewhere may belong to it. */
export function isOpen(trace: Trace | undefined, now: number): boolean {
  if (!trace || now - Date.parse(trace.began_at) < NEW_FOR_MS) return true;
  return trace.nodes.some((node) => (node.kind === 'execution' && node.ended_micros === null) || (node.kind === 'enforcement' && node.held !== null && node.became === null));
}

/** Reads a trace again when executions change. Call it while a component is set up. */
export function following(trace: { readonly now: Resource<Trace> }): void {
  $effect(() => {
    // The past changes no more.
    if (!session.may('executions:read') || asOf() !== undefined) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const end = live.watch('executions', () => {
      if (!untrack(() => isOpen(trace.now.value, Date.now()))) return;
      timer ??= setTimeout(() => {
        timer = undefined;
        trace.now.again();
      }, PAUSE_MS);
    });
    return () => {
      clearTimeout(timer);
      end();
    };
  });
}
