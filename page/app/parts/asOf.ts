/** Things as they were: `?as_of=4711` in the address shows a thing at that position of the log. */

import { router } from '../router.svelte.ts';

/** Returns the position of a query, or undefined for the present. */
export function positionOf(query: URLSearchParams): string | undefined {
  const given = query.get('as_of');
  return given !== null && /^[1-9]\d{0,15}$/.test(given) ? given : undefined;
}

/** Returns the position at which the screen shows things. */
export function asOf(): string | undefined {
  return positionOf(router.place.query);
}

/** Returns the query of a read, with the position, if there is one. */
export function queryOf(position: string | undefined): { as_of?: string } {
  return position === undefined ? {} : { as_of: position };
}
