/** The time as the page shows it: relative times move on together, once a second at most. */

import { readPrefs, writePrefs } from '../prefs.ts';

class Clock {
  now: number = $state(Date.now());
  isAbsolute: boolean = $state(readPrefs().absoluteTimes);

  constructor() {
    setInterval(() => {
      if (!globalThis.document?.hidden) this.now = Date.now();
    }, 1_000);
  }

  toggle(): void {
    this.isAbsolute = !this.isAbsolute;
    writePrefs({ absoluteTimes: this.isAbsolute });
  }
}

export const clock = new Clock();
