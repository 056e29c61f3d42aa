/** Which records a list shows. Without a filter, these are the newest. */

export const PAGE = 100;

/** Returns the position after which the records of an address begin: the last ones, unless it names a place or a filter. */
export function beginning(query: URLSearchParams, hasFilter: boolean, head: number): number {
  const after = query.get('after');
  if (after !== null && /^\d+$/.test(after)) return Number(after);
  return hasFilter ? 0 : Math.max(0, head - PAGE);
}
