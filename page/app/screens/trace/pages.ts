/** Reads a trace page by page, as one. */

import { call, type Answer } from '../../api/call.ts';
import type { Trace, TraceFold } from '../../api/types.ts';

/** Adds a page to those before it. What a page has again is shown as the later page has it. */
export function joined(known: Trace, page: Trace): Trace {
  const nodes = new Map([...known.nodes, ...page.nodes].map((node) => [node.id, node]));
  const folds = new Map<string, TraceFold>();
  for (const fold of [...known.folded, ...page.folded]) {
    const key = `${fold.parent} ${fold.step}`;
    const before = folds.get(key);
    folds.set(key, before ? added(before, fold) : fold);
  }
  return { ...page, nodes: [...nodes.values()], folded: [...folds.values()] };
}

function added(one: TraceFold, other: TraceFold): TraceFold {
  const statuses = { ...one.statuses };
  for (const [status, count] of Object.entries(other.statuses)) statuses[status] = (statuses[status] ?? 0) + count;
  return { ...one, items: one.items + other.items, below: one.below + other.below, statuses };
}

/** Reads the first pages. Items of wide steps are counted and not returned. */
export async function readTrace(id: string, pages: number, asOf: string | undefined, signal: AbortSignal): Promise<Answer<Trace>> {
  let all: Answer<Trace> | null = null;
  for (let page = 1; ; page += 1) {
    const after: number | undefined = all?.value.next ?? undefined;
    const query = { fold: 'items', ...(asOf === undefined ? {} : { as_of: asOf }), ...(after === undefined ? {} : { after }) };
    const read: Answer<Trace> = await call('GET /trace/{id}', { path: { id }, query, signal });
    all = all ? { ...read, value: joined(all.value, read.value) } : read;
    if (page >= pages || read.value.next === null) return all;
  }
}
