/** What needs attention now. It is read once for the menu, which counts it, and for the screen that shows all of it. */

import { call } from './api/call.ts';
import { live } from './api/live.svelte.ts';
import { Resource } from './api/resource.svelte.ts';
import type { Now } from './api/types.ts';
import { session } from './session.svelte.ts';

/** A busy node changes all the time: how often it is read at most, on its screen and for the menu alone. */
const SHOWN_PAUSE_MS = 1_000;
const MENU_PAUSE_MS = 3_000;
/** What the counts of the menu follow from. */
const COUNTED = ['executions', 'inquiries', 'dead_letters', 'parked_reactions'];

class Attention {
  now: Resource<Now> = $state.raw(this.#fresh());
  #isShown = false;

  /** Reads it, and again whenever it changes, until the returned function is called. */
  follow(): () => void {
    const ends = session.watches(...COUNTED).map(({ kind }) => live.watch(kind, () => this.now.again()));
    this.now.again();
    return () => {
      for (const end of ends) end();
      this.now.stop();
      // The next caller may see other things.
      this.now = this.#fresh();
    };
  }

  /** Reads it more often, and when events change, while its screen is shown. */
  show(): () => void {
    this.#isShown = true;
    const ends = session.watches('events').map(({ kind }) => live.watch(kind, () => this.now.again()));
    // The first read is that of the menu.
    if (this.now.readAt !== null) this.now.again();
    return () => {
      this.#isShown = false;
      for (const end of ends) end();
    };
  }

  #fresh(): Resource<Now> {
    return new Resource<Now>(
      (signal) => call('GET /now', { signal }),
      () => (this.#isShown ? SHOWN_PAUSE_MS : MENU_PAUSE_MS),
    );
  }
}

export const attention = new Attention();
