/** Lists that the API cannot read by ids are read from their start when something of their kind changes. */

import { untrack } from 'svelte';
import { live } from '../api/live.svelte.ts';
import type { Row, Rows } from '../api/rows.svelte.ts';
import { session } from '../session.svelte.ts';

/** A busy node changes a list all the time; it is read this often at most. */
const PAUSE_MS = 2_000;

/** Reads a list again while a component is shown, unless its reader has gone on to further pages. */
export function again<T extends Row>(kind: string, rows: () => Rows<T>): void {
  $effect(() => {
    if (!session.may(`${kind}:read`)) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const end = untrack(() =>
      live.watch(kind, () => {
        timer ??= setTimeout(
          () => {
            timer = undefined;
            const shown = rows();
            if (shown.pages.length <= 1 && !shown.hasPrevious) shown.again();
          },
          Date.now() - (rows().readAt ?? 0) > PAUSE_MS ? 0 : PAUSE_MS,
        );
      }),
    );
    return () => {
      clearTimeout(timer);
      end();
    };
  });
}
