// Sensors and actions of Ensue in JavaScript: one file, no dependencies, Node.js 18 or newer.
//
// Copy this file next to your program in the pack. A sensor:
//
//     import { sensor } from './ensue.mjs';
//
//     await sensor(async (sensor) => {
//       let number = sensor.cursor ?? 0;
//       while (await sensor.sleep(1000)) {
//         number += 1;
//         await sensor.emit({ number }, { cursor: number });
//       }
//     });
//
// An action:
//
//     import { action } from './ensue.mjs';
//
//     await action(async (action) => {
//       await action.progress(0.5, 'thinking');
//       return { text: `Hello, ${action.input.name}` };
//     });
//
// What a program prints with `console.log` goes to its log and not into the protocol.

import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { format } from 'node:util';

/** Ends the program with a message for people and an exit code, without a stack. */
export class Failure extends Error {
  constructor(message, code = 1) {
    super(message);
    this.code = code;
  }
}

/** A running sensor: what it was given, and what it can report. */
export class Sensor {
  #emitted = 0;
  #acked = 0;
  #waiting = new Set();
  #stopping = new AbortController();

  constructor(first) {
    /** The `input` of the sensor's file. */
    this.input = first.input ?? null;
    /** The cursor after the newest event that is in the log, or null at the first start. */
    this.cursor = first.cursor ?? null;
  }

  /** Aborted when the sensor should end. */
  get signal() {
    return this.#stopping.signal;
  }

  /** How many events are in the log. */
  get acked() {
    return this.#acked;
  }

  /**
   * Reports an event, and returns its number: 1, 2, 3, …
   *
   * `cursor` is what the next start gets once the event is in the log: any JSON value. Without cursors, an event can come
   * twice after a crash. `time` is when it happened, in RFC 3339. If the node is busy, this waits.
   */
  async emit(event, { cursor, time } = {}) {
    // Counted before anything is awaited, so that numbers and lines have the same order.
    this.#emitted += 1;
    const number = this.#emitted;
    await write({ event: event ?? null, cursor, time });
    return number;
  }

  /** Writes a line into the sensor's log. It must hold no secret. */
  async log(text) {
    await write({ log: String(text) });
  }

  /**
   * Reports that a part of what the sensor reads, for example one of its feeds, cannot be read, and why.
   *
   * The sensor continues, and operators see the part until `reportRunning`. Call it at each try. The name
   * may have 1,024 bytes, and neither it nor the error may hold a secret.
   */
  async reportFailing(part, error) {
    const why = error instanceof Error ? error.message : String(error);
    await write({ part: String(part), state: 'failing', error: why || 'it fails without a reason' });
  }

  /**
   * Reports that a part of what the sensor reads works. Call it for each part after a start, and at each try.
   *
   * A part that failed before the program was started fails until this is reported, also if it is no longer read.
   */
  async reportRunning(part) {
    await write({ part: String(part), state: 'running' });
  }

  /** Waits, and returns false at once when the sensor should end. */
  async sleep(milliseconds) {
    if (!this.signal.aborted) {
      await new Promise((resolve) => {
        const timer = setTimeout(over, milliseconds);
        const { signal } = this;
        signal.addEventListener('abort', over);
        function over() {
          clearTimeout(timer);
          signal.removeEventListener('abort', over);
          resolve();
        }
      });
    }
    return !this.signal.aborted;
  }

  /** Waits until this event, or all of them, are in the log. Returns false if the sensor should end before. */
  async waitForAck(number = this.#emitted) {
    while (this.#acked < number && !this.signal.aborted) {
      await new Promise((resolve) => this.#waiting.add(resolve));
    }
    return this.#acked >= number;
  }

  /** Ends `sleep` and `waitForAck`. */
  stop() {
    this.#stopping.abort();
    this.#wake();
  }

  /** Takes a line from the node. */
  hear(line) {
    try {
      const { ack } = JSON.parse(line);
      if (Number.isInteger(ack)) {
        this.#acked = Math.max(this.#acked, ack);
        this.#wake();
      }
    } catch {
      // A line of a later release.
    }
  }

  #wake() {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    waiting.forEach((resolve) => resolve());
  }
}

/** A running action: what it was given, and what it can report. */
export class Action {
  constructor(input) {
    /** The action's input: by default, its parameters. */
    this.input = input;
    /** The id of the execution. */
    this.executionId = process.env.ENSUE_EXECUTION_ID ?? null;
    /** The number of the attempt, from 1. */
    this.attempt = Number(process.env.ENSUE_ATTEMPT ?? '1');
    /** The same for every attempt of the execution. */
    this.idempotencyKey = process.env.ENSUE_IDEMPOTENCY_KEY ?? null;
    /** When the attempt's time is over, in RFC 3339. */
    this.deadline = process.env.ENSUE_DEADLINE ?? null;
  }

  /** Reports progress: a number from 0 to 1, in words, or both. */
  progress(done, message) {
    say({ progress: done ?? undefined, message: message ?? undefined });
  }

  /** Emits an event at once. */
  emit(trigger, payload) {
    say({ emit: { trigger, payload } });
  }

  /** Keeps a file of the private directory as an artifact. */
  artifact(path, { name, mediaType } = {}) {
    say({ artifact: { path: String(path), name, media_type: mediaType } });
  }
}

/** Runs a sensor: `run` gets a Sensor. When it returns, the program ends with code 0. */
export async function sensor(run) {
  keepOutput();
  const lines = createInterface({ input: process.stdin, crlfDelay: Infinity });
  let running;
  const first = new Promise((resolve) => {
    lines.on('line', (line) => {
      if (running) {
        running.hear(line);
      } else {
        running = new Sensor(JSON.parse(line || '{}'));
        resolve();
      }
    });
    // The node is gone.
    lines.on('close', () => (running ? running.stop() : resolve()));
  });
  await first;
  running ??= new Sensor({});
  process.on('SIGTERM', () => running.stop());
  await ended(() => run(running), async () => {});
}

/** Runs an action: `run` gets an Action, and what it returns is the result. */
export async function action(run) {
  keepOutput();
  let text = '';
  process.stdin.setEncoding('utf8');
  for await (const piece of process.stdin) {
    text += piece;
  }
  const running = new Action(JSON.parse(text || 'null'));
  await ended(() => run(running), (result) => write(result ?? null));
}

/** Keeps the standard output for the protocol. What the program prints goes to the log. */
function keepOutput() {
  // Whoever writes learns of an error by itself.
  process.stdout.on('error', () => {});
  for (const name of ['log', 'info', 'debug']) {
    console[name] = (...values) => process.stderr.write(`${format(...values)}\n`);
  }
}

/** Writes a line to the standard output, and waits until somebody reads it. */
function write(value) {
  return new Promise((resolve, reject) => {
    process.stdout.write(`${JSON.stringify(value)}\n`, (error) => (error ? reject(error) : resolve()));
  });
}

/** Writes a line to descriptor 3, which a program has if it runs under Ensue. */
function say(value) {
  let bytes = Buffer.from(`${JSON.stringify(value)}\n`);
  while (bytes.length > 0) {
    try {
      bytes = bytes.subarray(writeSync(3, bytes));
    } catch (error) {
      if (error.code === 'EAGAIN') continue;
      if (error.code === 'EBADF') return;
      throw error;
    }
  }
}

async function ended(run, report) {
  let code = 0;
  try {
    await report(await run());
  } catch (error) {
    if (error instanceof Failure) {
      process.stderr.write(`${error.message}\n`);
      code = error.code;
    } else {
      // Nobody reads any longer if the pipe is broken: the node is gone.
      if (error?.code !== 'EPIPE') process.stderr.write(`${error?.stack ?? error}\n`);
      code = 1;
    }
  }
  process.exit(code);
}
