// The types of `ensue.mjs`.

/** A value that can be written as JSON. */
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** Ends the program with a message for people and an exit code, without a stack. */
export class Failure extends Error {
  constructor(message: string, code?: number);
  code: number;
}

/** A running sensor: what it was given, and what it can report. */
export class Sensor<Input = any, Cursor = any> {
  private constructor();
  /** The `input` of the sensor's file. */
  readonly input: Input;
  /** The cursor after the newest event that is in the log, or null at the first start. */
  readonly cursor: Cursor | null;
  /** Aborted when the sensor should end. */
  readonly signal: AbortSignal;
  /** How many events are in the log. */
  readonly acked: number;
  /**
   * Reports an event, and returns its number: 1, 2, 3, …
   *
   * `cursor` is what the next start gets once the event is in the log. Without cursors, an event can come twice after a
   * crash. `time` is when it happened, in RFC 3339. If the node is busy, this waits.
   */
  emit(event: Json, options?: { cursor?: Cursor; time?: string }): Promise<number>;
  /** Writes a line into the sensor's log. It must hold no secret. */
  log(text: unknown): Promise<void>;
  /**
   * Reports that a part of what the sensor reads, for example one of its feeds, cannot be read, and why.
   *
   * The sensor continues, and operators see the part until `reportRunning`.
   */
  reportFailing(part: string, error: unknown): Promise<void>;
  /**
   * Reports that a part of what the sensor reads works. Call it for each part after a start, and at each try.
   *
   * A part that failed before the program was started fails until this is reported, also if it is no longer read.
   */
  reportRunning(part: string): Promise<void>;
  /** Waits, and returns false at once when the sensor should end. */
  sleep(milliseconds: number): Promise<boolean>;
  /** Waits until this event, or all of them, are in the log. Returns false if the sensor should end before. */
  waitForAck(number?: number): Promise<boolean>;
  /** Ends `sleep` and `waitForAck`. */
  stop(): void;
}

/** A running action: what it was given, and what it can report. */
export class Action<Input = any> {
  private constructor();
  /** The action's input: by default, its parameters. */
  readonly input: Input;
  /** The id of the execution. */
  readonly executionId: string | null;
  /** The number of the attempt, from 1. */
  readonly attempt: number;
  /** The same for every attempt of the execution. */
  readonly idempotencyKey: string | null;
  /** When the attempt's time is over, in RFC 3339. */
  readonly deadline: string | null;
  /** Reports progress: a number from 0 to 1, in words, or both. */
  progress(done?: number | null, message?: string | null): void;
  /** Emits an event at once. */
  emit(trigger: string, payload: Json): void;
  /** Keeps a file of the private directory as an artifact. */
  artifact(path: string | URL, options?: { name?: string; mediaType?: string }): void;
}

/** Runs a sensor: `run` gets a Sensor. When it returns, the program ends with code 0. */
export function sensor<Input = any, Cursor = any>(run: (sensor: Sensor<Input, Cursor>) => unknown): Promise<void>;

/** Runs an action: `run` gets an Action, and what it returns is the result. */
export function action<Input = any>(run: (action: Action<Input>) => unknown): Promise<void>;
