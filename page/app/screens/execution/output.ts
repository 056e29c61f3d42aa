/** Printed text: lines, and the 16 colours that programs print in. */

import { visible } from '../../parts/visible.ts';

export interface Piece {
  text: string;
  /** The class of the colour, empty for none. */
  style: string;
}

/** A line that is longer is shown in part. */
export const LINE_CHARS_MAX = 10_000;
const NAMES = ['black', 'red', 'green', 'yellow', 'blue', 'magenta', 'cyan', 'white'];
/** The codes of colours: ESC [ numbers m. */
// eslint-disable-next-line no-control-regex
const COLOUR = /\u001b\[([0-9;]*)m/g;

/** Splits printed text into lines. What is written over a line after a carriage return stays visible. */
export function linesOf(text: string): string[] {
  const lines = text.split(/\r?\n/);
  if (lines.at(-1) === '') lines.pop();
  return lines;
}

/** Splits a line into pieces of one colour each. Every other control character is shown as a picture. */
export function piecesOf(line: string): Piece[] {
  const pieces: Piece[] = [];
  let style = '';
  let at = 0;
  const put = (text: string): void => {
    if (text !== '') pieces.push({ text: visible(text), style });
  };
  for (const match of line.matchAll(COLOUR)) {
    put(line.slice(at, match.index));
    at = match.index + match[0].length;
    style = styleAfter(style, match[1] ?? '');
  }
  put(line.slice(at));
  return pieces;
}

function styleAfter(before: string, codes: string): string {
  let style = before;
  for (const code of (codes || '0').split(';').map(Number)) {
    if (code === 0 || code === 39) style = '';
    else if (code >= 30 && code <= 37) style = NAMES[code - 30] ?? '';
    else if (code >= 90 && code <= 97) style = NAMES[code - 90] ?? '';
  }
  return style;
}
