/** What an event led to, as a tree. */

import type { TraceFold, TraceNode, TraceNodeExecution } from '../api/types.ts';

export interface Branch {
  node: TraceNode;
  below: Twig[];
}

/** The items of one step, which are shown as one until somebody looks into it. */
export interface Items {
  step: string;
  items: Branch[];
}

export type Twig = { kind: 'one'; of: Branch } | { kind: 'items'; of: Items } | { kind: 'folded'; of: TraceFold };

/** More items of a step than this are shown as one. */
const ITEMS_MAX = 3;

/** Returns the trees of a trace: one, unless a parent is not among the nodes. */
export function treesOf(nodes: readonly TraceNode[], folds: readonly TraceFold[] = []): Branch[] {
  const branches = new Map(nodes.map((node): [string, Branch] => [node.id, { node, below: [] }]));
  const below = new Map<string, Branch[]>();
  const roots: Branch[] = [];
  for (const branch of branches.values()) {
    const { parent, id } = branch.node;
    if (parent === null || parent === id || !branches.has(parent)) roots.push(branch);
    else below.set(parent, [...(below.get(parent) ?? []), branch]);
  }
  for (const branch of branches.values()) branch.below = folded(below.get(branch.node.id) ?? []);
  for (const fold of folds) branches.get(fold.parent)?.below.push({ kind: 'folded', of: fold });
  return roots;
}

/** Puts the items of a step together where there are many. */
function folded(branches: Branch[]): Twig[] {
  const items = new Map<string, Branch[]>();
  for (const branch of branches) {
    const { node } = branch;
    if (node.kind === 'execution' && node.step !== null && node.item !== null) items.set(node.step, [...(items.get(node.step) ?? []), branch]);
  }
  const told = new Set<string>();
  return branches.flatMap((branch): Twig[] => {
    const step = branch.node.kind === 'execution' && branch.node.item !== null ? branch.node.step : null;
    const all = step === null ? [] : (items.get(step) ?? []);
    if (step === null || all.length <= ITEMS_MAX) return [{ kind: 'one', of: branch }];
    if (told.has(step)) return [];
    told.add(step);
    return [{ kind: 'items', of: { step, items: all } }];
  });
}

/** Returns the branch of a node. */
export function branchOf(branches: readonly Branch[], id: string): Branch | null {
  for (const branch of branches) {
    if (branch.node.id === id) return branch;
    const found = branchOf(branch.below.flatMap(branchesOf), id);
    if (found) return found;
  }
  return null;
}

/** Returns the branches of a twig. The node only counted those of a folded step. */
function branchesOf(twig: Twig): Branch[] {
  if (twig.kind === 'one') return [twig.of];
  return twig.kind === 'items' ? twig.of.items : [];
}

/** Counts the statuses of items, the most urgent first. */
export function statusesOf(items: readonly Branch[]): [string, number][] {
  const counts = new Map<string, number>();
  for (const { node } of items) {
    const { status } = node as TraceNodeExecution;
    counts.set(status, (counts.get(status) ?? 0) + 1);
  }
  return urgentFirst([...counts]);
}

/** The same for a twig of many. */
export function statusesOfTwig(twig: Twig): [string, number][] {
  if (twig.kind === 'folded') return urgentFirst(Object.entries(twig.of.statuses));
  return statusesOf(branchesOf(twig));
}

function urgentFirst(counts: [string, number][]): [string, number][] {
  return counts.sort(([one], [other]) => rank(one) - rank(other));
}

const URGENT = ['indeterminate', 'failed', 'timed_out', 'undoing', 'running', 'waiting'];

function rank(status: string): number {
  const at = URGENT.indexOf(status);
  return at < 0 ? URGENT.length : at;
}

/** Whether something below needs a look, so that it is shown at once. */
export function isUrgent(items: readonly Branch[]): boolean {
  return items.some(({ node }) => node.kind === 'execution' && URGENT.includes(node.status));
}
