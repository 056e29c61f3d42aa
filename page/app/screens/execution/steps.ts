/** Which step a reader looks for first, and what of it failed. */

import type { Execution, GraphNode } from '../../api/types.ts';

export const FAILED = ['failed', 'timed_out', 'indeterminate'];
/** The states, the one that needs attention first. */
const URGENCY = [
  'failed', 'timed_out', 'indeterminate', 'undoing', 'cancelling', 'paused', 'waiting', 'running', 'queued', 'delayed', 'cancelled', 'succeeded', 'to_come', 'skipped',
];

/** Returns the first step that failed, or of which an item failed. */
export function firstFailed(nodes: readonly GraphNode[]): GraphNode | undefined {
  return nodes.find((node) => FAILED.includes(node.state ?? '') || FAILED.some((state) => (node.counts[state] ?? 0) > 0));
}

/** Returns the step that needs attention first. */
export function mostUrgent(nodes: readonly GraphNode[]): GraphNode {
  const urgency = (node: GraphNode): number => {
    const states = [node.state ?? 'to_come', ...Object.keys(node.counts)];
    return Math.min(...states.map((state) => (URGENCY.includes(state) ? URGENCY.indexOf(state) : URGENCY.length)));
  };
  const [first, ...others] = nodes;
  if (!first) throw new TypeError('no steps to choose from');
  return others.reduce((best, node) => (urgency(node) < urgency(best) ? node : best), first);
}

/** Something of a step that failed: an execution, or an item that failed before there was one. */
export interface FailedPart {
  step: string;
  item: number | null;
  execution: string | null;
  status: string;
  message: string;
}

/** Returns what failed of the steps of a workflow: the executions, and what failed without one. */
export function failedParts(executions: readonly Execution[], workflow: Execution): FailedPart[] {
  const ran = executions
    .filter((execution) => !execution.undoes)
    .map((execution): FailedPart => ({
      step: execution.step ?? '',
      item: execution.item,
      execution: execution.id,
      status: execution.status,
      message: execution.error?.message ?? '',
    }));
  const never = (workflow.not_started ?? []).flatMap((step): FailedPart[] =>
    step.error ? [{ step: step.step, item: step.item, execution: null, status: 'failed', message: step.error.message }] : [],
  );
  return [...ran, ...never].sort((one, other) => (one.item ?? 0) - (other.item ?? 0));
}
