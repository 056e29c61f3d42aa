/** Changes as they happen: which things changed. The screens that show them read them again. */

import { hear } from './call.ts';
import { ChangeStream, type Asked, type Line, type Told } from './stream.ts';
import type { Changes } from './types.ts';

export interface Change {
  ids: ReadonlySet<string>;
  /** Whether more of the kind changed than the ids say. */
  all: boolean;
}

interface Watch {
  kind: string;
  take: (change: Change) => void;
}

const PING_MS = 45_000;
/** A line that breaks for a moment is no news. */
const BROKEN_AFTER_MS = 5_000;

class Live {
  /** Whether the stream has been broken for some time. */
  isBroken: boolean = $state(false);
  brokenAt: number | null = $state.raw(null);
  /** What happens when the node no longer accepts the session. */
  onEnded: () => void = () => {};
  /** Whether the caller may follow a kind. One that they may not would refuse the whole stream. */
  may: (kind: string) => boolean = () => true;
  #watches = new Set<Watch>();
  /** The kinds that changed while nobody saw this tab. */
  #unseen = new Set<string>();
  /** What this tab shows is at this position or after it. */
  #heard = 0;
  #ask: ((asked: Asked) => void) | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Starts the stream after a position, before anything is read that changes. */
  start(after: number): void {
    this.#heard = after;
    if (this.#ask) {
      this.#want();
      return;
    }
    this.#ask = 'SharedWorker' in globalThis ? this.#byWorker() : this.#byElection();
    this.#want();
    setInterval(() => this.#ask?.('ping'), PING_MS);
    addEventListener('pagehide', () => this.#ask?.('bye'));
    addEventListener('pageshow', () => this.#want());
    addEventListener('online', () => this.#ask?.('wake'));
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) return;
      this.#ask?.('wake');
      this.#tellUnseen();
    });
  }

  /** Calls `take` when things of a kind change, until the returned function is called. */
  watch(kind: string, take: (change: Change) => void): () => void {
    const watch = { kind, take };
    this.#watches.add(watch);
    this.#want();
    return () => {
      this.#watches.delete(watch);
      this.#want();
    };
  }

  /** Asks for what is watched again, after the caller's rights changed. */
  wanted(): void {
    if (this.#ask) this.#want();
  }

  wake(): void {
    this.#ask?.('wake');
  }

  #want(): void {
    const kinds = new Set([...this.#watches].map((watch) => watch.kind).filter((kind) => this.may(kind)));
    this.#ask?.({ kinds: [...kinds], after: this.#heard });
  }

  #byWorker(): (asked: Asked) => void {
    const address = import.meta.env.DEV ? '/app/worker.ts' : new URL(/* @vite-ignore */ './worker.js', import.meta.url).href;
    const worker = new SharedWorker(workerAddress(address), { type: 'module', name: 'ensue' });
    worker.port.onmessage = ({ data }: MessageEvent<Told>) => this.#take(data);
    worker.port.start();
    return (asked) => worker.port.postMessage(asked);
  }

  /** Without shared workers one tab holds the stream, and passes on what it hears. */
  #byElection(): (asked: Asked) => void {
    const channel = new BroadcastChannel('ensue');
    const me = crypto.randomUUID();
    const wishes = new Map<string, string[]>();
    let stream: ChangeStream | null = null;
    const hear = (from: string, asked: Asked): void => {
      if (asked === 'bye') wishes.delete(from);
      else if (asked === 'wake') stream?.wake();
      else if (asked !== 'ping') wishes.set(from, asked.kinds);
      stream?.want([...wishes.values()].flat(), typeof asked === 'string' ? undefined : asked.after);
    };
    channel.onmessage = ({ data }: MessageEvent<{ from: string; asked: Asked } | { told: Told } | 'elected'>) => {
      if (data === 'elected') this.#want();
      else if ('told' in data) this.#take(data.told);
      else hear(data.from, data.asked);
    };
    void navigator.locks.request('ensue-changes', () => {
      stream = new ChangeStream((told) => {
        this.#take(told);
        channel.postMessage({ told });
      });
      channel.postMessage('elected');
      this.#want();
      return new Promise<never>(() => {});
    });
    return (asked) => {
      hear(me, asked);
      channel.postMessage({ from: me, asked });
    };
  }

  #take(told: Told): void {
    if (told.kind === 'line') {
      this.#takeLine(told.line);
      return;
    }
    this.#heard = told.position;
    hear(told.position);
    if (told.kind === 'changes') this.#tell(told.changes);
  }

  #takeLine(line: Line): void {
    clearTimeout(this.#timer);
    if (line === 'broken') {
      const since = Date.now();
      this.#timer = setTimeout(() => {
        this.isBroken = true;
        this.brokenAt = since;
      }, BROKEN_AFTER_MS);
    } else {
      this.isBroken = false;
      this.brokenAt = null;
    }
    if (line === 'ended') this.onEnded();
  }

  /** A tab that nobody sees reads nothing, however busy the node is. */
  #tell(changes: Changes): void {
    for (const watch of this.#watches) {
      const ids = new Set(changes.changed[watch.kind] ?? []);
      const all = changes.reset || changes.more.includes(watch.kind);
      if (!all && ids.size === 0) continue;
      if (document.hidden) this.#unseen.add(watch.kind);
      else watch.take({ ids, all });
    }
  }

  #tellUnseen(): void {
    const kinds = this.#unseen;
    this.#unseen = new Set();
    for (const watch of this.#watches) if (kinds.has(watch.kind)) watch.take({ ids: new Set(), all: true });
  }
}

/** The policy lets one address through: browsers refuse to start workers from text that nobody vouched for. */
function workerAddress(address: string): string {
  const types = (globalThis as { trustedTypes?: { createPolicy(name: string, rules: object): { createScriptURL(text: string): unknown } } }).trustedTypes;
  if (!types) return address;
  const policy = types.createPolicy('ensue-worker', {
    createScriptURL: (text: string) => {
      if (text !== address) throw new TypeError('not the worker of this page');
      return text;
    },
  });
  return policy.createScriptURL(address) as string;
}

export const live = new Live();
