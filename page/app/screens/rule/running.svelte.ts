/** A backtest that runs at the node. The page shows its progress and what it has found so far. */

import { CallError, call } from '../../api/call.ts';
import type { Backtest, BacktestAsked, RunningBacktest } from '../../api/types.ts';

/** How often the node is asked. */
const ASK_MS = 500;

export class Running {
  isRunning: boolean = $state(false);
  /** From 0 to 1. */
  progress: number = $state(0);
  result: Backtest | null = $state.raw(null);
  /** Whether somebody stopped it, so that the result covers only a part of the events. */
  isStopped: boolean = $state(false);
  error: CallError | null = $state.raw(null);
  #id: string | null = null;
  /** Rises with each start and stop, so that an answer to an earlier one is ignored. */
  #turn = 0;

  /** Starts a backtest, and returns when it has ended or was stopped. */
  async run(asked: BacktestAsked): Promise<void> {
    this.close();
    const turn = (this.#turn += 1);
    Object.assign(this, { isRunning: true, progress: 0, result: null, isStopped: false, error: null });
    try {
      const { value } = await call('POST /rules/backtest', { body: asked, prefer: 'respond-async' });
      const isWhole = !('status' in value);
      if (isWhole) this.result = value;
      else if (turn === this.#turn) await this.#follow(value, turn);
      // It was stopped before the node had answered.
      else forget(value.id);
    } catch (why) {
      if (turn === this.#turn) this.error = why instanceof CallError ? why : new CallError(null, 0);
    } finally {
      if (turn === this.#turn) this.isRunning = false;
    }
  }

  /** Stops it. What it has found so far stays. */
  async stop(): Promise<void> {
    const id = this.#end();
    this.isStopped = true;
    if (id !== null) await call('DELETE /backtests/{id}', { path: { id } });
  }

  /** Stops it because its screen is closed. */
  close(): void {
    const id = this.#end();
    if (id !== null) forget(id);
  }

  #end(): string | null {
    const id = this.#id;
    this.#turn += 1;
    this.#id = null;
    this.isRunning = false;
    return id;
  }

  async #follow(begun: RunningBacktest, turn: number): Promise<void> {
    let shown = begun;
    this.#id = begun.id;
    for (;;) {
      this.progress = shown.progress;
      if (shown.result) this.result = shown.result;
      if (shown.status !== 'running') break;
      await new Promise((done) => setTimeout(done, ASK_MS));
      if (turn !== this.#turn) return;
      shown = (await call('GET /backtests/{id}', { path: { id: begun.id } })).value;
      if (turn !== this.#turn) return;
    }
    this.#id = null;
    if (shown.error) throw new CallError(problemOf(shown.error), 422);
    forget(begun.id);
  }
}

/** Lets the node forget a backtest that nobody needs. Without this the node forgets it later. */
function forget(id: string): void {
  call('DELETE /backtests/{id}', { path: { id } }).catch(() => {});
}

function problemOf({ code, detail, hint }: NonNullable<RunningBacktest['error']>): CallError['problem'] {
  return { code, title: detail ?? code, detail: null, hint, request_id: '', status: 422, type: '' };
}
