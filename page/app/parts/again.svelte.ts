/** Lists that the API cannot read by ids are read from their start when something of their kind changes; what no record reports, regularly. */

import { untrack } from 'svelte';
import { head } from '../api/head.svelte.ts';
import { live } from '../api/live.svelte.ts';
import type { Row, Rows } from '../api/rows.svelte.ts';
import { session } from '../session.svelte.ts';

/** A busy node changes a list all the time; it is read this often at most. */
const PAUSE_MS = 2_000;

/** Reads from the start, unless the reader has gone on to further pages. */
function reread<T extends Row>(rows: Rows<T>): void {
  if (rows.pages.length <= 1 && !rows.hasPrevious) rows.again();
}

/** Reads a list again while a component is shown. */
export function again<T extends Row>(kind: string, rows: () => Rows<T>): void {
  $effect(() => {
    if (!session.may(`${kind}:read`)) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const end = untrack(() =>
      live.watch(kind, () => {
        timer ??= setTimeout(
          () => {
            timer = undefined;
            reread(rows());
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

/** Reads a list of what no stream reports again when the log has grown. */
export function againAtHead<T extends Row>(rows: () => Rows<T>): void {
  whenMoved(() => reread(rows()));
}

/** Does something while a component is shown, each time when the log has grown. */
export function whenMoved(take: () => void): void {
  $effect(() => untrack(() => head.watch(take)));
}

/** What no record reports is read this often. */
const REGULARLY_MS = 5_000;

/** Does something from time to time while a component is shown and its window is visible. */
export function regularly(take: () => void): void {
  $effect(() => {
    const timer = setInterval(() => {
      if (document.visibilityState === 'visible') untrack(take);
    }, REGULARLY_MS);
    return () => clearInterval(timer);
  });
}
