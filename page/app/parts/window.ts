/** Which rows of a long list are in the document. */

/** Rows beyond the edges, so that a quick scroll shows no gap. */
const MARGIN_ROWS = 10;

export interface Shown {
  from: number;
  to: number;
  before: number;
  after: number;
}

/** Returns the rows to show: `before` and `after` are the heights of those that are left out. */
export function rowsShown(count: number, rowHeight: number, scrollTop: number, height: number): Shown {
  const first = Math.floor(scrollTop / rowHeight) - MARGIN_ROWS;
  const from = Math.max(0, Math.min(first, count));
  const to = Math.min(count, Math.max(from, Math.ceil((scrollTop + height) / rowHeight) + MARGIN_ROWS));
  return { from, to, before: from * rowHeight, after: (count - to) * rowHeight };
}
