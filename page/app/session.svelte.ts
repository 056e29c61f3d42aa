/** The person or program that is logged in, and its permissions. */

import { CallError, call, forgetPosition, onUnauthenticated } from './api/call.ts';
import { live } from './api/live.svelte.ts';
import type { Watched } from './api/resource.svelte.ts';
import type { Me } from './api/types.ts';

class Session {
  /** Null: nobody is logged in. Undefined: not known yet. */
  me: Me | null | undefined = $state.raw();
  error: CallError | null = $state.raw(null);

  /** Asks the node who is logged in. */
  async load(): Promise<void> {
    this.error = null;
    try {
      this.me = (await call('GET /me', {})).value;
      if (!this.isOfLink) live.start();
      live.wake();
    } catch (error) {
      if (error instanceof CallError && error.status === 401) this.me = null;
      else this.error = error instanceof CallError ? error : new CallError(null, 0);
    }
  }

  /** Whether the session is that of a link, which serves one inquiry. */
  get isOfLink(): boolean {
    return this.me?.session?.way === 'link';
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

export const session = new Session();
onUnauthenticated.run = () => session.ended();
live.onEnded = () => void session.load();
