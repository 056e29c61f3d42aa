/** The person or program that is logged in, and its permissions. */

import { CallError, call, forgetPosition, onUnauthenticated } from './api/call.ts';
import { head } from './api/head.svelte.ts';
import { live } from './api/live.svelte.ts';
import type { Watched } from './api/resource.svelte.ts';
import type { Me } from './api/types.ts';

/** Grants begin and end at any time, and no stream reports it. While the page is in use, it asks this often. */
const ASK_MS = 3_000;
/** A page that nobody uses does not keep its session in use. */
const IDLE_MS = 600_000;

class Session {
  /** Null: nobody is logged in. Undefined: not known yet. */
  me: Me | null | undefined = $state.raw();
  error: CallError | null = $state.raw(null);
  /** How often the caller's rights changed since the page was opened. */
  changes = $state(0);
  #usedAt = Date.now();

  /** Asks the node who is logged in. */
  async load(): Promise<void> {
    this.error = null;
    try {
      // Browsers log a refused request as an error, so ask for the user only if somebody is logged in.
      if (!(await call('GET /public/status', {})).value.logged_in) {
        this.me = null;
        return;
      }
      const { value, position } = await call('GET /me', {});
      this.me = value;
      if (!this.isOfLink) live.start(position);
      live.wake();
    } catch (error) {
      if (error instanceof CallError && error.status === 401) this.me = null;
      else this.error = error instanceof CallError ? error : new CallError(null, 0);
    }
  }

  /** Whether the session serves one inquiry only: that of an answer link. */
  get isOfLink(): boolean {
    return Boolean(this.me?.session?.only);
  }

  /** Learns of changed rights while the page is in use. */
  follow(): void {
    for (const name of ['pointerdown', 'keydown', 'focus']) addEventListener(name, () => (this.#usedAt = Date.now()), { passive: true });
    setInterval(() => {
      if (this.me && !document.hidden && Date.now() - this.#usedAt < IDLE_MS) void this.#askAgain();
    }, ASK_MS);
  }

  async #askAgain(): Promise<void> {
    const before = this.me;
    try {
      const { value } = await call('GET /me', {});
      if (!before || this.me !== before || rightsOf(value) === rightsOf(before)) return;
      this.me = value;
      this.changes += 1;
      live.wanted();
    } catch (error) {
      // Without an answer the last one counts; every request is judged by the node anyway.
      if (error instanceof CallError && error.status === 401) this.me = null;
    }
  }

  may(permission: string): boolean {
    return this.me?.permissions.some((known) => known.permission === permission) ?? false;
  }

  /** Returns those kinds whose changes the caller may follow: one that they may not follow would refuse all of them. */
  watches(...kinds: string[]): Watched[] {
    return kinds.filter((kind) => this.may(`${kind}:read`)).map((kind) => ({ kind }));
  }

  ended(): void {
    this.me = null;
  }

  async logOut(): Promise<void> {
    await call('POST /auth/logout', { body: {} });
    forgetPosition();
    this.me = null;
  }
}

function rightsOf(me: Me): string {
  return JSON.stringify([me.name, me.permissions]);
}

export const session = new Session();
head.may = (permission) => session.may(permission);
live.may = (kind) => session.may(`${kind}:read`);
onUnauthenticated.run = () => session.ended();
live.onEnded = () => void session.load();
