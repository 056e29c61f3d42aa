/** The position of the log, for lists of things that no stream reports. It is asked only while such a list is on the screen. */

import { CallError, call } from './call.ts';

/** A busy node moves all the time; a list is read this often at most. */
const ASK_MS = 2_000;

/** The reads that say a position, each with its permission. The cheapest comes first. */
const READS: [permission: string, ask: () => Promise<number>][] = [
  ['log:read', async () => (await call('GET /log/head', {})).value.position],
  ['audit:read', async () => (await call('GET /audit', { query: { limit: 1 } })).position],
  ['tokens:read', async () => (await call('GET /tokens', { query: { limit: 1 } })).position],
];

class Head {
  /** Whether the reader has a permission. */
  may: (permission: string) => boolean = () => false;
  #watches = new Set<() => void>();
  #timer: ReturnType<typeof setInterval> | undefined;
  #position = 0;
  #isAsking = false;

  /** Calls `take` when the log has grown, until the returned function is called. */
  watch(take: () => void): () => void {
    this.#watches.add(take);
    this.#timer ??= setInterval(() => void this.#ask(), ASK_MS);
    return () => {
      this.#watches.delete(take);
      if (this.#watches.size > 0) return;
      clearInterval(this.#timer);
      this.#timer = undefined;
      this.#position = 0;
    };
  }

  async #ask(): Promise<void> {
    const read = READS.find(([permission]) => this.may(permission));
    if (!read || this.#isAsking || document.hidden) return;
    this.#isAsking = true;
    try {
      const position = await read[1]();
      const hasMoved = position > this.#position;
      this.#position = position;
      if (hasMoved) for (const take of this.#watches) take();
    } catch (error) {
      // The next answer says what this one did not; what is shown stays.
      if (!(error instanceof CallError)) throw error;
    } finally {
      this.#isAsking = false;
    }
  }
}

export const head = new Head();
