/** The step that is chosen. It is in the address, so that the list, the graph and the timeline choose the same one. */

import { link, router } from '../../router.svelte.ts';

/** The step of an address in which the reader closed all steps. No step has this name. */
export const NO_STEP = '-';

/** Returns the address of this screen with another value of a parameter. */
export function addressWith(changes: Record<string, string | undefined>): string {
  return link(router.place.path, { ...Object.fromEntries(router.place.query), ...changes });
}

/** Follows a link to a part of the same screen without a new entry in the history. */
export function stay(event: MouseEvent): void {
  if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  const anchor = event.currentTarget;
  if (anchor instanceof HTMLAnchorElement) router.replace(anchor.href);
}

/** The step that the address names. */
export function chosenStep(): string | null {
  return router.place.query.get('step');
}
