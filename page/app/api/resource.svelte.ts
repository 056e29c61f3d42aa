/** A thing on the screen: read, kept with the position that it shows, and read again when it changes. */

import { untrack } from 'svelte';
import { CallError, type Answer } from './call.ts';
import { live } from './live.svelte.ts';

/** A skeleton that appears at once only flickers. */
export const SLOW_MS = 150;

export interface Watched {
  kind: string;
  /** Only changes of this thing count; without it, all of the kind do. */
  id?: string | undefined;
}

/** What `Loaded.svelte` shows of a thing: one of the five states. */
export interface Showable {
  readonly hasValue: boolean;
  readonly isSlow: boolean;
  readonly error: CallError | null;
  /** When what is shown was read. */
  readonly readAt: number | null;
  again(): void;
}

export class Resource<T> implements Showable {
  value: T | undefined = $state.raw();
  error: CallError | null = $state.raw(null);
  isSlow: boolean = $state(false);
  readAt: number | null = $state.raw(null);
  #position = 0;
  #isReading = false;
  #isDirty = false;
  #abort: AbortController | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly read: (signal: AbortSignal) => Promise<Answer<T>>,
    /** What is costly to read is read this often at most. */
    private readonly pauseMs = 0,
  ) {}

  get hasValue(): boolean {
    return this.value !== undefined;
  }

  again(): void {
    const wait = this.readAt === null ? 0 : this.readAt + this.pauseMs - Date.now();
    if (this.#isReading) this.#isDirty = true;
    else if (wait <= 0) void this.#load();
    else
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined;
        this.again();
      }, wait);
  }

  /** Shows an answer that came another way, such as that of a write. */
  put(answer: Answer<T>): void {
    if (answer.position < this.#position) return;
    this.#position = answer.position;
    this.value = answer.value;
    this.error = null;
    this.readAt = Date.now();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#abort?.abort();
    this.#isDirty = false;
  }

  async #load(): Promise<void> {
    this.#isReading = true;
    const abort = new AbortController();
    this.#abort = abort;
    const slow = setTimeout(() => (this.isSlow = true), SLOW_MS);
    try {
      this.put(await this.read(abort.signal));
    } catch (error) {
      if (!abort.signal.aborted) this.error = error instanceof CallError ? error : new CallError(null, 0);
    } finally {
      clearTimeout(slow);
      this.isSlow = false;
      this.#isReading = false;
    }
    if (this.#isDirty && !abort.signal.aborted) {
      this.#isDirty = false;
      this.again();
    }
  }
}

/**
 * Reads a thing while a component is shown. `what` is run again when what it depends on changes; it returns how to read the thing,
 * and which changes make it out of date. Call it while a component is set up.
 */
export function reading<T>(what: () => { read: (signal: AbortSignal) => Promise<Answer<T>>; watch?: Watched[]; pauseMs?: number }): {
  readonly now: Resource<T>;
} {
  const resource = $derived.by(() => {
    const { read, pauseMs } = what();
    return new Resource<T>(read, pauseMs);
  });
  $effect(() => {
    const shown = resource;
    const watched = what().watch ?? [];
    untrack(() => shown.again());
    const ends = watched.map(({ kind, id }) =>
      live.watch(kind, (change) => {
        if (change.all || id === undefined || change.ids.has(id)) shown.again();
      }),
    );
    return () => {
      for (const end of ends) end();
      shown.stop();
    };
  });
  return {
    get now() {
      return resource;
    },
  };
}
