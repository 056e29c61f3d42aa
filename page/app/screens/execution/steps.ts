/** Which step a reader looks for first. */

import type { GraphNode } from '../../api/types.ts';

const FAILED = ['failed', 'timed_out', 'indeterminate'];

/** Returns the first step that failed, or of which an item failed. */
export function firstFailed(nodes: readonly GraphNode[]): GraphNode | undefined {
  return nodes.find((node) => FAILED.includes(node.state ?? '') || FAILED.some((state) => (node.counts[state] ?? 0) > 0));
}
