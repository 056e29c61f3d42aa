/** Where the things of a trace are drawn: a thing is one rank after its cause, and beside the others that it led to. */

import type { Branch, Twig } from '../../why/trace.ts';

/** How many boxes are drawn at most. */
export const BOXES_MAX = 200;
export const BOX = { width: 192, height: 52 };
const GAP = { rank: 40, lane: 12 };

export interface Box {
  key: string;
  twig: Twig;
  /** The key of what led to it. */
  cause: string | null;
  rank: number;
  lane: number;
  x: number;
  y: number;
}

export interface Drawing {
  boxes: Box[];
  lines: { key: string; path: string }[];
  width: number;
  height: number;
  /** How many things are not drawn. */
  left: number;
}

function keyOf(twig: Twig, cause: string | null): string {
  return twig.kind === 'one' ? twig.of.node.id : `${cause}/${twig.of.step}`;
}

/** Draws trees. Folded steps have one box. */
export function drawingOf(trees: readonly Branch[]): Drawing {
  const boxes: Box[] = [];
  let lanes = 0;
  let left = 0;
  /** Places a thing beside the first and the last of what it led to. Returns its lane, or null if it is not drawn. */
  const place = (twig: Twig, cause: Box | null): number | null => {
    if (boxes.length >= BOXES_MAX) {
      left += 1;
      if (twig.kind === 'one') for (const one of twig.of.below) place(one, null);
      return null;
    }
    const box: Box = { key: keyOf(twig, cause?.key ?? null), twig, cause: cause?.key ?? null, rank: cause ? cause.rank + 1 : 0, lane: 0, x: 0, y: 0 };
    boxes.push(box);
    const below = twig.kind === 'one' ? twig.of.below.map((one) => place(one, box)).filter((lane) => lane !== null) : [];
    const [first, last] = [below[0], below.at(-1)];
    box.lane = first === undefined || last === undefined ? lanes++ : (first + last) / 2;
    box.x = box.rank * (BOX.width + GAP.rank);
    box.y = box.lane * (BOX.height + GAP.lane);
    return box.lane;
  };
  for (const tree of trees) place({ kind: 'one', of: tree }, null);
  const byKey = new Map(boxes.map((box) => [box.key, box]));
  const lines = boxes.flatMap((box) => {
    const cause = box.cause === null ? undefined : byKey.get(box.cause);
    return cause ? [{ key: box.key, path: curve(cause, box) }] : [];
  });
  const width = Math.max(0, ...boxes.map((box) => box.x + BOX.width));
  return { boxes, lines, width, height: Math.max(0, ...boxes.map((box) => box.y + BOX.height)), left };
}

function curve(from: Box, to: Box): string {
  const [x, y, toX, toY] = [from.x + BOX.width, from.y + BOX.height / 2, to.x, to.y + BOX.height / 2];
  const middle = (x + toX) / 2;
  return `M${x} ${y}C${middle} ${y} ${middle} ${toY} ${toX} ${toY}`;
}

/** Returns the box that an arrow key leads to: the cause, what followed, or the neighbor of the same rank. */
export function boxAfter({ boxes }: Drawing, key: string, pressed: string): Box | undefined {
  const at = boxes.find((box) => box.key === key);
  if (!at) return undefined;
  if (pressed === 'ArrowLeft') return boxes.find((box) => box.key === at.cause);
  if (pressed === 'ArrowRight') return boxes.find((box) => box.cause === key);
  const by = { ArrowDown: 1, ArrowUp: -1 }[pressed];
  const beside = boxes.filter((box) => box.rank === at.rank).sort((one, other) => one.lane - other.lane);
  return by === undefined ? undefined : beside[beside.indexOf(at) + by];
}
