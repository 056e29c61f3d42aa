/** How many things need a person, for the menu, which counts them on every screen. */

import { call } from './api/call.ts';
import { live } from './api/live.svelte.ts';
import { Resource } from './api/resource.svelte.ts';
import type { NeedsPerson } from './api/types.ts';
import { session } from './session.svelte.ts';

/** A busy node changes all the time: the counts are read this often at most. */
const PAUSE_MS = 2_000;
/** What the counts follow from. */
const COUNTED = ['executions', 'inquiries', 'dead_letters', 'parked_reactions'];

class Attention {
  needs: Resource<NeedsPerson> = $state.raw(fresh());

  /** Reads the counts, and again whenever they may have changed, until the returned function is called. */
  follow(): () => void {
    const ends = session.watches(...COUNTED).map(({ kind }) => live.watch(kind, () => this.needs.again()));
    this.needs.again();
    return () => {
      for (const end of ends) end();
      this.needs.stop();
      // The next caller may see other things.
      this.needs = fresh();
    };
  }
}

function fresh(): Resource<NeedsPerson> {
  return new Resource<NeedsPerson>((signal) => call('GET /now/needs_person', { signal }), PAUSE_MS);
}

export const attention = new Attention();
