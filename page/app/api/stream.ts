/** The one stream of changes for the whole browser. It runs in the shared worker, or in one tab where there is none. */

import { eachEvent } from './sse.ts';
import type { Changes } from './types.ts';

/** What a tab asks for: all changes of these kinds after a position. What the tab shows is at that position or after it. */
export type Asked = { kinds: string[]; after: number } | 'wake' | 'ping' | 'bye';

/** What the stream reports: changes, with the position that they end at, or that nothing of these kinds changed up to a position. */
export type Told = { kind: 'changes'; changes: Changes; position: number } | { kind: 'place'; position: number } | { kind: 'line'; line: Line };
export type Line = 'live' | 'broken' | 'ended' | 'idle';

/** Anything may have changed. */
const RESET: Changes = { changed: {}, more: [], reset: true };
const WAITS_MS = [1_000, 2_000, 5_000, 10_000, 30_000];

export class ChangeStream {
  #kinds = '';
  /** Where the stream continues; null: not known. */
  #position: number | null = null;
  #failures = 0;
  #abort: AbortController | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #line: Line = 'idle';

  constructor(private readonly tell: (told: Told) => void) {}

  get line(): Line {
    return this.#line;
  }

  /**
   * Asks for changes of these kinds. The stream continues after its last change, or goes back to `after` if that is earlier, so that
   * none is missed.
   */
  want(kinds: Iterable<string>, after?: number): void {
    const wanted = [...new Set(kinds)].sort().join(',');
    const isBehind = after !== undefined && (this.#position === null || after < this.#position);
    if (wanted === this.#kinds && !isBehind) return;
    this.#kinds = wanted;
    if (isBehind) this.#position = after;
    this.#restart();
  }

  /** Tries at once, if it waits. */
  wake(): void {
    if (this.#line === 'broken' || this.#line === 'ended') this.#restart();
  }

  #restart(): void {
    clearTimeout(this.#timer);
    this.#abort?.abort();
    this.#abort = null;
    this.#failures = 0;
    if (this.#kinds === '') this.#say('idle');
    else void this.#run();
  }

  async #run(): Promise<void> {
    const abort = new AbortController();
    this.#abort = abort;
    try {
      const headers: Record<string, string> = { accept: 'text/event-stream', 'ensue-page': '1' };
      let isPlaced = this.#position !== null;
      if (this.#position !== null) headers['last-event-id'] = String(this.#position);
      const address = `/api/v1/changes?of=${encodeURIComponent(this.#kinds)}`;
      const response = await fetch(address, { headers, signal: abort.signal, credentials: 'same-origin' });
      if (response.status === 401) {
        this.#position = null;
        this.#say('ended');
        return;
      }
      // The position belongs to another log, such as one from before a restore.
      if (response.status === 400) this.#position = null;
      if (!response.ok) throw new Error(String(response.status));
      this.#failures = 0;
      this.#say('live');
      await eachEvent(response, (event) => {
        if (event.event !== '' && event.event !== 'message') return;
        if (event.id === '') return;
        const position = Number(event.id);
        this.#position = position;
        if (!isPlaced) this.tell({ kind: 'changes', changes: RESET, position });
        isPlaced = true;
        if (event.data === '') this.tell({ kind: 'place', position });
        else this.tell({ kind: 'changes', changes: JSON.parse(event.data) as Changes, position });
      });
    } catch {
      // The connection failed, or this stream was replaced by another one.
    }
    if (abort.signal.aborted) return;
    this.#say('broken');
    const wait = WAITS_MS[Math.min(this.#failures, WAITS_MS.length - 1)] ?? 30_000;
    this.#failures += 1;
    this.#timer = setTimeout(() => void this.#run(), wait * (0.75 + Math.random() / 2));
  }

  #say(line: Line): void {
    if (this.#line === line) return;
    this.#line = line;
    this.tell({ kind: 'line', line });
  }
}
