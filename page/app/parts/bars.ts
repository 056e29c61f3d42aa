/** Counts over time as bars: their number, their heights, and the time that a choice of them covers. */

/** A reader cannot distinguish more bars than this. */
export const BARS_MAX = 120;

export interface Buckets {
  /** When the first one begins, in milliseconds. */
  from: number;
  /** How long each of them is. */
  ms: number;
  counts: readonly number[];
}

/** Returns at most `BARS_MAX` buckets: neighbours are added up, from the end, so that the last one is whole. */
export function bucketsOf(from: string, seconds: number, counts: readonly number[]): Buckets {
  const start = Date.parse(from);
  const many = Math.max(1, Math.ceil(counts.length / BARS_MAX));
  const lead = (many - (counts.length % many)) % many;
  const padded = [...Array<number>(lead).fill(0), ...counts];
  const merged = Array.from({ length: padded.length / many }, (_, at) => padded.slice(at * many, (at + 1) * many).reduce((sum, count) => sum + count, 0));
  return { from: start - lead * seconds * 1_000, ms: many * seconds * 1_000, counts: merged };
}

/** Returns the heights of bars, from 0 to 1. A count above 0 is always visible. */
export function heightsOf(counts: readonly number[]): number[] {
  const most = Math.max(...counts, 1);
  return counts.map((count) => (count === 0 ? 0 : Math.max(0.06, count / most)));
}

/** A choice of bars: where it began and where it is now. Either may be first. */
export interface Choice {
  anchor: number;
  head: number;
}

export interface Covered {
  first: number;
  last: number;
  since: string;
  until: string;
  count: number;
}

/** Returns what a choice covers. The end is not part of it, as in filters. */
export function coveredBy({ from, ms, counts }: Buckets, { anchor, head }: Choice): Covered {
  const [first, last] = anchor <= head ? [anchor, head] : [head, anchor];
  const time = (at: number): string => new Date(from + at * ms).toISOString();
  return { first, last, since: time(first), until: time(last + 1), count: counts.slice(first, last + 1).reduce((sum, count) => sum + count, 0) };
}

/** Returns the bar at a place from 0 to 1. */
export function barAt(place: number, bars: number): number {
  return Math.min(bars - 1, Math.max(0, Math.floor(place * bars)));
}

/** Returns a choice after a key, or null if the key does nothing here. Shift makes it longer. */
export function moved(choice: Choice | null, key: string, isLonger: boolean, bars: number): Choice | null {
  const head = choice?.head ?? bars;
  const places: Record<string, number> = { ArrowLeft: head - 1, ArrowRight: head + 1, ArrowDown: head - 1, ArrowUp: head + 1, PageUp: head + 10, PageDown: head - 10, Home: 0, End: bars - 1 };
  const wanted = places[key];
  if (wanted === undefined || bars === 0) return null;
  const at = Math.min(bars - 1, Math.max(0, wanted));
  return { anchor: isLonger && choice ? choice.anchor : at, head: at };
}
