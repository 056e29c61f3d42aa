/** Executions by their ids, for lists that have ids alone. They are read together, and again when they change. */

import { call } from '../api/call.ts';
import { reading } from '../api/resource.svelte.ts';
import type { Execution, ExecutionList } from '../api/types.ts';
import { session } from '../session.svelte.ts';

/** How many ids one request can name. */
const IDS_MAX = 200;

/** Returns what is known of the executions with these ids; nothing, if the caller may not read them. */
export function executionsOf(ids: () => readonly string[]): { readonly now: Readonly<Record<string, Execution>> } {
  let known: Record<string, Execution> = $state.raw({});
  const asked = $derived(session.may('executions:read') ? [...new Set(ids())].sort().slice(0, IDS_MAX).join(',') : '');
  const read = reading<ExecutionList>(() => {
    const id = asked === '' ? [] : asked.split(',');
    return {
      // No id would be no filter.
      read: async (signal) => (id.length === 0 ? { value: { items: [], next: null }, position: 0 } : call('GET /executions', { query: { id, limit: id.length }, signal })),
      watch: session.watches('executions'),
      pauseMs: 1_000,
    };
  });
  $effect(() => {
    // What was read before stays until the answer, so that no name flickers.
    const { items } = read.now.value ?? { items: [] };
    if (items.length > 0) known = Object.fromEntries(items.map((execution) => [execution.id, execution]));
  });
  return {
    get now() {
      return known;
    },
  };
}
