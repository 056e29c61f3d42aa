/** Finds lines in what an execution printed. */

import type { OutputStream } from '../../api/types.ts';

/** A line that a search found. */
export interface Found {
  stream: OutputStream;
  line: number;
}

/** More lines than these are not listed. */
export const FOUND_MAX = 10_000;
// eslint-disable-next-line no-control-regex
const COLOUR = /\u001b\[[0-9;]*m/g;

/** Returns the numbers of the lines that contain a text, in any case of letters and color. */
export function linesWith(lines: readonly string[], text: string): number[] {
  const wanted = text.toLowerCase();
  const found: number[] = [];
  if (wanted === '') return found;
  for (const [at, line] of lines.entries()) {
    const plain = line.includes('\u001b') ? line.replace(COLOUR, '') : line;
    if (!plain.toLowerCase().includes(wanted)) continue;
    found.push(at);
    if (found.length >= FOUND_MAX) break;
  }
  return found;
}

const isSame = (one: Found, other: Found): boolean => one.stream === other.stream && one.line === other.line;

/** Returns the place of a line among those that were found; -1 if it is not there. */
export function placeOf(found: readonly Found[], current: Found | null): number {
  return current === null ? -1 : found.findIndex((one) => isSame(one, current));
}

/** Returns the line after or before the current one. After the last comes the first; without a current one, it is the last. */
export function stepFrom(found: readonly Found[], current: Found | null, step: 1 | -1): Found | null {
  const at = placeOf(found, current);
  return (at < 0 ? found.at(-1) : found[(at + step + found.length) % found.length]) ?? null;
}
