/** A list as a window over cursors: pages of rows, of which a few are kept, and kept up to date while they are on the screen. */

import { untrack } from 'svelte';
import { CallError, type Answer } from './call.ts';
import { live } from './live.svelte.ts';
import { SLOW_MS, type Showable } from './resource.svelte.ts';

/** How many rows a page has. */
export const PAGE_ROWS = 100;
/** How many pages are kept. */
export const PAGES_MAX = 5;
/** How many ids one request can name. */
const IDS_MAX = 200;
/**
 * A busy node changes a list all the time: rows are read again this often at most, and the list itself this often. The node says
 * what changed to all pages at the same moments, a little less often than that. Pages that read at once then share the answer.
 */
const PAUSE_MS = 200;
const LIST_PAUSE_MS = 500;
/** A list that is slow to read is read less often, so that it takes at most one part in so many of the node's time. */
const SHARE = 5;

export interface Page<T> {
  items: T[];
  next: string | null;
}

export interface RowQuery {
  cursor?: string;
  limit?: string;
  id?: string[];
}

type ReadRows<T> = (query: RowQuery, signal: AbortSignal) => Promise<Answer<Page<T>>>;

interface KeptPage<T> {
  cursor: string | undefined;
  items: T[];
  next: string | null;
}

export interface Row {
  id: string;
  position?: number;
}

export class Rows<T extends Row> implements Showable {
  pages: KeptPage<T>[] = $state.raw([]);
  error: CallError | null = $state.raw(null);
  isSlow: boolean = $state(false);
  readAt: number | null = $state.raw(null);
  /** Rows that came since the list was read, and are not in it yet. */
  pending: ReadonlySet<string> = $state.raw(new Set());
  /** Whether the reader sees the first rows: then new ones come by themselves. */
  isAtTop = true;
  items: T[] = $derived(this.pages.flatMap((page) => page.items));
  #before: (string | undefined)[] = [];
  #changed = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isReading = false;
  #tookMs = 0;
  #beganAt = 0;
  #abort = new AbortController();

  constructor(private readonly read: ReadRows<T>) {}

  get hasValue(): boolean {
    return this.readAt !== null;
  }

  get hasNext(): boolean {
    return this.pages.at(-1)?.next != null;
  }

  get hasPrevious(): boolean {
    return this.#before.length > 0;
  }

  /** Reads the list from its start. */
  again(): void {
    void this.#reading(async (signal) => {
      const { value } = await this.read({ limit: String(PAGE_ROWS) }, signal);
      this.#before = [];
      this.pages = [{ cursor: undefined, items: value.items, next: value.next }];
      this.pending = new Set();
    });
  }

  /** Reads the next page. */
  onward(): void {
    const cursor = this.pages.at(-1)?.next;
    if (!cursor) return;
    void this.#reading(async (signal) => {
      const { value } = await this.read({ cursor, limit: String(PAGE_ROWS) }, signal);
      const pages = [...this.pages, { cursor, items: value.items, next: value.next }];
      for (const gone of pages.splice(0, Math.max(0, pages.length - PAGES_MAX))) this.#before.push(gone.cursor);
      this.pages = pages;
    });
  }

  /** Reads the page before those that are kept. */
  backward(): void {
    if (this.#before.length === 0) return;
    const cursor = this.#before.at(-1);
    void this.#reading(async (signal) => {
      const { value } = await this.read({ ...(cursor === undefined ? {} : { cursor }), limit: String(PAGE_ROWS) }, signal);
      this.#before.pop();
      this.pages = [{ cursor, items: value.items, next: value.next }, ...this.pages].slice(0, PAGES_MAX);
    });
  }

  /** Takes note of things that changed. */
  changed(ids: ReadonlySet<string>, all: boolean): void {
    for (const id of ids) this.#changed.add(id);
    if (all) for (const row of this.items) this.#changed.add(row.id);
    if (all && this.isAtTop) this.#changed.add('');
    const pause = Math.max(this.#changed.has('') ? LIST_PAUSE_MS : PAUSE_MS, SHARE * this.#tookMs);
    this.#timer ??= setTimeout(
      () => {
        this.#timer = undefined;
        void this.#refresh();
      },
      Math.max(0, this.#beganAt + pause - Date.now()),
    );
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#abort.abort();
  }

  async #refresh(): Promise<void> {
    if (this.#isReading || !this.hasValue) return;
    const fromStart = this.#changed.delete('') || this.#changed.size > IDS_MAX;
    const ids = [...this.#changed].slice(0, IDS_MAX);
    this.#changed.clear();
    if (fromStart && this.isAtTop) return this.again();
    if (ids.length === 0) return;
    await this.#reading(async (signal) => {
      // The filters hold here as well: a row that does not come back left the list.
      const { value } = await this.read({ id: ids, limit: String(IDS_MAX) }, signal);
      const fresh = new Map(value.items.map((row) => [row.id, row]));
      const known = new Set(this.items.map((row) => row.id));
      const asked = new Set(ids);
      this.pages = this.pages.map((page) => ({
        ...page,
        items: page.items.filter((row) => !asked.has(row.id) || fresh.has(row.id)).map((row) => fresh.get(row.id) ?? row),
      }));
      const added = value.items.filter((row) => !known.has(row.id));
      if (this.isAtTop && this.#before.length === 0 && this.pages[0]) {
        const [first, ...rest] = this.pages;
        // Lists begin with the newest.
        const items = [...first.items, ...added].sort((one, other) => (other.position ?? 0) - (one.position ?? 0));
        this.pages = [{ ...first, items }, ...rest];
      } else {
        this.pending = new Set([...this.pending, ...added.map((row) => row.id)]);
      }
    });
  }

  async #reading(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    if (this.#isReading) return;
    this.#isReading = true;
    const { signal } = this.#abort;
    const slow = setTimeout(() => (this.isSlow = true), SLOW_MS);
    this.#beganAt = Date.now();
    try {
      await work(signal);
      this.error = null;
      this.readAt = Date.now();
      this.#tookMs = this.readAt - this.#beganAt;
    } catch (error) {
      if (!signal.aborted) this.error = error instanceof CallError ? error : new CallError(null, 0);
    } finally {
      clearTimeout(slow);
      this.isSlow = false;
      this.#isReading = false;
    }
    if (this.#changed.size > 0 && !signal.aborted) this.changed(new Set(), false);
  }
}

/** Reads a list while a component is shown. `what` is run again when its filters change. */
export function listing<T extends Row>(what: () => { read: ReadRows<T>; kind?: string }): { readonly now: Rows<T> } {
  const rows = $derived.by(() => new Rows<T>(what().read));
  $effect(() => {
    const shown = rows;
    const { kind } = what();
    untrack(() => shown.again());
    const end = kind === undefined ? undefined : live.watch(kind, (change) => shown.changed(change.ids, change.all));
    return () => {
      end?.();
      shown.stop();
    };
  });
  return {
    get now() {
      return rows;
    },
  };
}
