/** One operation on all executions that a filter shows: page by page, with every refusal, until it is done or stopped. */

import { CallError, newKey, type Answer } from '../../api/call.ts';
import type { ChangedList, Status } from '../../api/types.ts';
import { type Filters, withTimes } from '../../parts/filter.ts';

export type BulkName = 'cancel' | 'pause' | 'resume' | 'rerun';

export interface Bulk {
  name: BulkName;
  /** All of them are needed. */
  permissions: readonly string[];
  /** The states in which it can be done. */
  statuses: readonly Status[];
}

export const BULKS: readonly Bulk[] = [
  { name: 'cancel', permissions: ['executions:cancel'], statuses: ['delayed', 'queued', 'paused', 'waiting', 'running', 'indeterminate'] },
  { name: 'pause', permissions: ['executions:pause'], statuses: ['delayed', 'queued', 'waiting', 'running'] },
  { name: 'resume', permissions: ['executions:pause'], statuses: ['paused'] },
  { name: 'rerun', permissions: ['executions:rerun', 'actions:execute'], statuses: ['failed', 'timed_out', 'cancelled', 'succeeded'] },
];

/** The filters that both a list and a bulk operation have. */
const SHARED = ['status', 'action', 'rule', 'label', 'correlation', 'parent', 'rerun_of', 'error_kind', 'since', 'until'];
/** The filters that cannot be counted. */
const UNCOUNTED = ['error_kind'];

type Query = Record<string, string[]>;

export interface Meant {
  /** Selects the executions, without their states. */
  query: Query;
  /** The states that the list shows; none: all. */
  statuses: readonly string[];
  /** Nothing that is requested later is changed. */
  until: string;
  /** Whether the number of executions can be counted. */
  isCounted: boolean;
  /** Whether steps are changed as well, which follow their workflow otherwise. */
  withSteps: boolean;
}

/** Returns what the filters of a list select at a moment, or the filters that a bulk operation does not have. */
export function meantBy(filters: Filters['query'], now: number): Meant | { unknown: string[] } {
  const withSteps = (filters.parent ?? []).length > 0;
  // Without a workflow, steps are left out anyway.
  const isImplied = (key: string): boolean => key === 'is_root' && filters.is_root?.[0] === 'true' && !withSteps;
  const unknown = Object.keys(filters).filter((key) => !SHARED.includes(key) && !isImplied(key));
  if (unknown.length > 0) return { unknown };
  const kept = Object.entries(filters).filter(([key]) => key !== 'status' && !isImplied(key));
  const query: Query = withTimes(Object.fromEntries(kept), now);
  const wanted = query.until?.[0];
  const fixed = new Date(now).toISOString();
  const until = wanted !== undefined && Date.parse(wanted) < now ? wanted : fixed;
  query.until = [until];
  return { query, statuses: filters.status ?? [], until, isCounted: !UNCOUNTED.some((key) => key in query), withSteps };
}

/** Returns the states of what an operation is requested for: those that the list shows and that it can change. */
export function statusesFor(bulk: Bulk, meant: Meant): Status[] {
  return bulk.statuses.filter((status) => meant.statuses.length === 0 || meant.statuses.includes(status));
}

export interface RefusedOne {
  execution: string;
  reason: string;
}

/** Requests one page. */
export type Send = (query: Query & { limit: string; cursor?: string }, key: string) => Promise<Answer<ChangedList>>;

export type Phase = 'idle' | 'running' | 'stopping' | 'stopped' | 'done' | 'failed';

/** How many executions one request changes: few enough that a stop is not late. */
export const PAGE_ROWS = 50;
/** How many refusals are kept. */
export const REFUSED_MAX = 500;

export class BulkRun {
  phase: Phase = $state('idle');
  /** How many were changed. */
  changed = $state(0);
  refusedCount = $state(0);
  refused: RefusedOne[] = $state.raw([]);
  /** How many were left out because they had been rerun before. */
  leftOut = $state(0);
  error: CallError | null = $state.raw(null);
  #cursor: string | undefined;
  readonly #key = newKey();

  constructor(
    private readonly query: Query,
    private readonly send: Send,
  ) {}

  get isRunning(): boolean {
    return this.phase === 'running' || this.phase === 'stopping';
  }

  get seen(): number {
    return this.changed + this.refusedCount + this.leftOut;
  }

  /** Works through the pages, from where it stopped. A page that failed is sent again, with the same key. */
  async run(): Promise<void> {
    if (this.isRunning || this.phase === 'done') return;
    this.phase = 'running';
    this.error = null;
    while (this.#isWanted()) {
      const place = this.#cursor === undefined ? {} : { cursor: this.#cursor };
      try {
        const { value } = await this.send({ ...this.query, limit: String(PAGE_ROWS), ...place } as Query & { limit: string }, this.#key);
        this.#take(value);
        if (value.next === null) {
          this.phase = 'done';
          return;
        }
        this.#cursor = value.next;
      } catch (error) {
        if (!(error instanceof CallError)) throw error;
        this.error = error;
        this.phase = 'failed';
        return;
      }
    }
    this.phase = 'stopped';
  }

  /** Stops after the page that is under way. */
  stop(): void {
    if (this.phase === 'running') this.phase = 'stopping';
  }

  #isWanted(): boolean {
    return this.phase === 'running';
  }

  #take(list: ChangedList): void {
    const refused: RefusedOne[] = [];
    for (const { execution, error, rerun_before: before } of list.items) {
      if (error) refused.push({ execution, reason: error.detail ?? error.code });
      else if (before) this.leftOut += 1;
      else this.changed += 1;
    }
    this.refusedCount += refused.length;
    this.refused = [...this.refused, ...refused].slice(0, REFUSED_MAX);
  }
}
