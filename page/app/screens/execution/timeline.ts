/** The rows and the scale of a timeline. Knows nothing of the document. */

import type { Spans } from '../../api/types.ts';
import { FAILED } from './steps.ts';

/** Turns of one step are one row from this number on; items always are. */
const TURNS_SHOWN_MAX = 8;
/** How many failed items of a closed row have rows of their own. */
const FAILED_SHOWN_MAX = 10;

export interface SpanRow {
  key: string;
  depth: number;
  /** The place in the columns; of several, that of the first. */
  at: number;
  /** The places of all items of a step, if the row stands for several. */
  members: readonly number[] | null;
  isOpen: boolean;
  from: number;
  /** Null while it is open. */
  to: number | null;
  /** When it started, or null. */
  startedAt: number | null;
  counts: Readonly<Record<string, number>>;
}

/** Returns the rows: each workflow before its steps, and the items of a step as one row unless it is opened. */
export function rowsOf(spans: Spans, opened: ReadonlySet<string>): SpanRow[] {
  const below = new Map<number, number[]>();
  for (const [at, parent] of spans.parent.entries()) {
    if (parent === null) continue;
    const known = below.get(parent);
    if (known) known.push(at);
    else below.set(parent, [at]);
  }
  const rows: SpanRow[] = [];
  const one = (at: number, depth: number): void => {
    rows.push(spanRow(spans, at, depth));
    const steps = new Map<string, number[]>();
    for (const child of below.get(at) ?? []) {
      // The undo of a step is no item or turn of it.
      const step = `${spans.undoes[child] ? 'undo of ' : ''}${spans.step[child] ?? ''}`;
      const known = steps.get(step);
      if (known) known.push(child);
      else steps.set(step, [child]);
    }
    for (const members of steps.values()) {
      const isWide = members.length > 1 && (members.some((member) => spans.item[member] !== null) || members.length > TURNS_SHOWN_MAX);
      if (!isWide) for (const member of members) one(member, depth + 1);
      else many(members, depth + 1);
    }
  };
  const many = (members: number[], depth: number): void => {
    const row = groupRow(spans, members, depth, opened);
    rows.push(row);
    const failed = members.filter((member) => FAILED.includes(spans.status[member] ?? '')).slice(0, FAILED_SHOWN_MAX);
    for (const member of row.isOpen ? members : failed) one(member, depth + 1);
  };
  if (spans.id.length > 0) one(0, 0);
  return rows;
}

function spanRow(spans: Spans, at: number, depth: number): SpanRow {
  const from = spans.from_us[at] ?? 0;
  const waits = spans.waits_us[at] ?? null;
  const status = spans.status[at] ?? '';
  return {
    key: spans.id[at] ?? String(at),
    depth,
    at,
    members: null,
    isOpen: false,
    from,
    to: spans.to_us[at] ?? null,
    startedAt: waits === null ? null : from + waits,
    counts: { [status]: 1 },
  };
}

function groupRow(spans: Spans, members: number[], depth: number, opened: ReadonlySet<string>): SpanRow {
  const counts: Record<string, number> = {};
  let [from, to]: [number, number | null] = [Infinity, 0];
  for (const member of members) {
    const status = spans.status[member] ?? '';
    counts[status] = (counts[status] ?? 0) + 1;
    from = Math.min(from, spans.from_us[member] ?? 0);
    const end = spans.to_us[member] ?? null;
    to = end === null || to === null ? null : Math.max(to, end);
  }
  const at = members[0] ?? 0;
  const key = `of ${spans.id[at] ?? at}`;
  return { key, depth, at, members, isOpen: opened.has(key), from, to, startedAt: from, counts };
}

/** From times to places: 0 is the beginning, 1 the end. */
export interface Scale {
  /** Returns the place of a time in microseconds. */
  place(time: number): number;
  /** Returns the time of a place. */
  time(place: number): number;
  /** The spans of time that are folded, with their places. */
  folds: readonly { from: number; to: number; place: number }[];
}

/** A gap is folded if it is a larger share of the whole than this. */
const GAP_SHARE_MIN = 0.05;
/** The length of a folded gap, as a share of the time that is not folded. */
const FOLDED_SHARE = 0.03;

interface Piece {
  from: number;
  to: number;
  width: number;
  isFolded: boolean;
}

/** Returns the scale from the beginning to the end. With `isFolded`, times in which nothing ran are short. */
export function scaleOf(spans: Spans, end: number, isFolded: boolean): Scale {
  const whole = Math.max(end, 1);
  const pieces = isFolded ? foldedPieces(spans, whole) : [{ from: 0, to: whole, width: whole, isFolded: false }];
  const width = pieces.reduce((sum, piece) => sum + piece.width, 0);
  let place = 0;
  const placed = pieces.map((piece) => {
    const at = place;
    place += piece.width / width;
    return { ...piece, place: at, share: piece.width / width };
  });
  const last = placed.at(-1);
  return {
    place(time) {
      const piece = placed.find((one) => time <= one.to) ?? last;
      if (!piece) return 0;
      const within = (Math.max(piece.from, Math.min(time, piece.to)) - piece.from) / Math.max(1, piece.to - piece.from);
      return piece.place + within * piece.share;
    },
    time(wanted) {
      const piece = placed.find((one) => wanted <= one.place + one.share) ?? last;
      return piece ? piece.from + ((wanted - piece.place) / piece.share) * (piece.to - piece.from) : 0;
    },
    folds: placed.filter((piece) => piece.isFolded).map(({ from, to, place: at }) => ({ from, to, place: at })),
  };
}

/** Splits the time into pieces in which something ran, or began or ended, and gaps. */
function foldedPieces(spans: Spans, whole: number): Piece[] {
  const inside = new Set(spans.parent.filter((parent) => parent !== null));
  const busy: [number, number][] = [[0, 0], [whole, whole]];
  for (let at = 0; at < spans.id.length; at += 1) {
    const from = spans.from_us[at] ?? 0;
    const to = spans.to_us[at] ?? whole;
    busy.push([from, from], [to, to]);
    const waits = spans.waits_us[at] ?? null;
    // Questions, sleeps and workflows have no attempts: they wait.
    if (!inside.has(at) && waits !== null && (spans.attempts[at] ?? 0) > 0) busy.push([from + waits, to]);
  }
  busy.sort(([one], [other]) => one - other);
  const gaps: [number, number][] = [];
  let end = 0;
  for (const [from, to] of busy) {
    if (from - end > whole * GAP_SHARE_MIN) gaps.push([end, from]);
    end = Math.max(end, to);
  }
  const idle = gaps.reduce((sum, [from, to]) => sum + to - from, 0);
  const short = Math.max(1, (whole - idle) * FOLDED_SHARE);
  const pieces: Piece[] = [];
  let at = 0;
  for (const [from, to] of gaps) {
    if (from > at) pieces.push({ from: at, to: from, width: from - at, isFolded: false });
    pieces.push({ from, to, width: short, isFolded: true });
    at = to;
  }
  if (whole > at) pieces.push({ from: at, to: whole, width: whole - at, isFolded: false });
  return pieces;
}

/** The part of the timeline that is shown, from 0 to 1. */
export interface View {
  from: number;
  to: number;
}

export const WHOLE: View = { from: 0, to: 1 };
const VIEW_SHARE_MIN = 0.000_1;

/** Keeps a view within the whole. */
export function viewOf(from: number, to: number): View {
  const size = Math.min(1, Math.max(VIEW_SHARE_MIN, Math.abs(to - from)));
  const start = Math.max(0, Math.min(1 - size, Math.min(from, to)));
  return { from: start, to: start + size };
}

/** Reads the view of an address: `0.25-0.5`. */
export function readView(text: string | null): View {
  const [from, to] = (text ?? '').split('-').map(Number);
  if (from === undefined || to === undefined || !Number.isFinite(from) || !Number.isFinite(to) || from === to) return WHOLE;
  return viewOf(from, to);
}

export function writeView(view: View): string | undefined {
  return view.from <= 0 && view.to >= 1 ? undefined : `${+view.from.toFixed(4)}-${+view.to.toFixed(4)}`;
}
