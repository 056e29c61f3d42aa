/** Keys for a list of rows with buttons: `j` and `k` move between the links of the rows, and going back focuses the row one came from. */

import { keys } from '../keyboard.svelte.ts';
import { router } from '../router.svelte.ts';
import { words } from '../words/en.ts';

/** Adds the keys while a component is shown. The links have `data-row` and an id. `read` is what the rows are made of. */
export function rowKeys(list: () => HTMLElement | undefined, read: () => unknown): void {
  function move(by: number): void {
    const rows = [...(list()?.querySelectorAll<HTMLElement>('[data-row]') ?? [])];
    const at = rows.findIndex((row) => row === document.activeElement);
    const next = at < 0 ? 0 : Math.max(0, Math.min(rows.length - 1, at + by));
    rows[next]?.focus();
  }

  keys(() => [
    { keys: 'j', label: words.key.next, isHidden: true, run: () => move(1) },
    { keys: 'k', label: words.key.previous, isHidden: true, run: () => move(-1) },
  ]);

  $effect(() => {
    void read();
    if (!router.focus) return;
    const row = list()?.querySelector<HTMLElement>(`#${CSS.escape(router.focus)}`);
    if (!row) return;
    router.focus = null;
    row.focus();
  });
}
