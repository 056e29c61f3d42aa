/** Where the steps of a graph are drawn. The node computes ranks and lanes; this only multiplies, and folds what would be too much. */

import type { Graph, GraphNode } from '../../api/types.ts';
import { mostUrgent } from './steps.ts';

/** How many boxes are drawn at most. */
export const BOXES_MAX = 200;
export const BOX = { width: 176, height: 48 };
const GAP = { alongRanks: 48, acrossRanks: 16 };

export type Direction = 'right' | 'down';

/** A box: one step, or several side by side that are folded into one. */
export interface Box {
  key: string;
  /** The step that the box leads to: of several, the one that needs attention first. */
  node: GraphNode;
  /** All steps of the box. */
  nodes: readonly GraphNode[];
  x: number;
  y: number;
}

export interface Line {
  key: string;
  from: string;
  to: string;
  path: string;
  isToCome: boolean;
  isCritical: boolean;
}

export interface Drawing {
  boxes: Box[];
  lines: Line[];
  width: number;
  height: number;
  /** The number of steps that are not drawn. */
  left: number;
}

/** Returns the steps of each box. Above the limit, steps of the same rank share a box. */
function grouped(nodes: readonly GraphNode[]): GraphNode[][] {
  if (nodes.length <= BOXES_MAX) return nodes.map((node) => [node]);
  const ranks = new Map<number, GraphNode[]>();
  for (const node of nodes) ranks.set(node.rank, [...(ranks.get(node.rank) ?? []), node]);
  return [...ranks.entries()].sort(([one], [other]) => one - other).map(([, group]) => group);
}

/** Draws a graph. */
export function drawingOf(graph: Graph, direction: Direction): Drawing {
  const groups = grouped(graph.nodes);
  const isFolded = groups.length < graph.nodes.length;
  const boxes = groups.slice(0, BOXES_MAX).map((nodes): Box => {
    const node = mostUrgent(nodes);
    const lane = isFolded ? 0 : node.lane;
    const along = node.rank * ((direction === 'right' ? BOX.width : BOX.height) + GAP.alongRanks);
    const across = lane * ((direction === 'right' ? BOX.height : BOX.width) + GAP.acrossRanks);
    const [x, y] = direction === 'right' ? [along, across] : [across, along];
    return { key: nodes[0]?.step ?? '', node, nodes, x, y };
  });
  const boxOf = new Map(boxes.flatMap((box) => box.nodes.map((node) => [node.step, box] as const)));
  const critical = criticalOf(graph);
  const lines = new Map<string, Line>();
  for (const { from, to } of graph.edges) {
    const [start, end] = [boxOf.get(from), boxOf.get(to)];
    if (!start || !end || start === end) continue;
    const key = `${start.key}\n${end.key}`;
    const known = lines.get(key);
    const isCritical = (known?.isCritical ?? false) || (critical.has(from) && critical.has(to));
    lines.set(key, { key, from: start.key, to: end.key, path: curve(start, end, direction), isToCome: isToCome(end.node), isCritical });
  }
  return {
    boxes,
    lines: [...lines.values()],
    width: Math.max(0, ...boxes.map((box) => box.x + BOX.width)),
    height: Math.max(0, ...boxes.map((box) => box.y + BOX.height)),
    left: graph.nodes.length - boxes.reduce((sum, box) => sum + box.nodes.length, 0),
  };
}

/** Returns the steps of the critical path. A step that was skipped took no time. */
export function criticalOf(graph: Graph): ReadonlySet<string> {
  const skipped = new Set(graph.nodes.filter((node) => node.state === 'skipped').map((node) => node.step));
  return new Set(graph.critical.filter((step) => !skipped.has(step)));
}

/** Whether a step has not begun, or never does. */
export function isToCome(node: GraphNode): boolean {
  return node.state === 'to_come' || node.state === 'skipped';
}

function curve(start: Box, end: Box, direction: Direction): string {
  if (direction === 'right') {
    const [x, y, toX, toY] = [start.x + BOX.width, start.y + BOX.height / 2, end.x, end.y + BOX.height / 2];
    const middle = (x + toX) / 2;
    return `M${x} ${y}C${middle} ${y} ${middle} ${toY} ${toX} ${toY}`;
  }
  const [x, y, toX, toY] = [start.x + BOX.width / 2, start.y + BOX.height, end.x + BOX.width / 2, end.y];
  const middle = (y + toY) / 2;
  return `M${x} ${y}C${x} ${middle} ${toX} ${middle} ${toX} ${toY}`;
}

const ALONG: Record<Direction, { next: string; previous: string; after: string; before: string }> = {
  right: { next: 'ArrowRight', previous: 'ArrowLeft', after: 'ArrowDown', before: 'ArrowUp' },
  down: { next: 'ArrowDown', previous: 'ArrowUp', after: 'ArrowRight', before: 'ArrowLeft' },
};

/** Returns the box that an arrow key leads to: along the lines, or to the neighbor of the same rank. */
export function boxAfter(drawing: Drawing, key: string, pressed: string, direction: Direction): Box | undefined {
  const arrows = ALONG[direction];
  const at = drawing.boxes.find((box) => box.key === key);
  if (!at) return undefined;
  const find = (wanted: string | undefined): Box | undefined => drawing.boxes.find((box) => box.key === wanted);
  if (pressed === arrows.next) return find(drawing.lines.find((line) => line.from === key)?.to);
  if (pressed === arrows.previous) return find(drawing.lines.find((line) => line.to === key)?.from);
  const place = (box: Box): number => (direction === 'right' ? box.y : box.x);
  const beside = drawing.boxes.filter((box) => box.node.rank === at.node.rank).sort((one, other) => place(one) - place(other));
  const steps = { [arrows.after]: 1, [arrows.before]: -1 }[pressed];
  return steps === undefined ? undefined : beside[beside.indexOf(at) + steps];
}
