/** A node of the real binary, with a port and a data folder of its own. */

import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../../..');
export const BINARY = resolve(process.env.ENSUE_BINARY ?? join(ROOT, 'target/debug/ensue'));
const START_MS = 30_000;
const STOP_MS = 30_000;
/** The unit of times in `/proc`, which is the same on every Linux. */
const TICKS_PER_SECOND = 100;

export class Node {
  url = '';
  token = '';
  readonly #folder: string;
  #process: ChildProcess | null = null;

  private constructor(
    private readonly packs: string,
    private readonly variables: Readonly<Record<string, string>>,
    /** The folder of an earlier node, which stays; otherwise the node has a folder of its own. */
    private readonly kept: string | null = null,
  ) {
    this.#folder = kept ?? mkdtempSync(join(tmpdir(), 'ensue-page-'));
  }

  /** Starts a node with the packs of a folder of `tests`, or of another folder, and with more variables of the environment. */
  static async start(packs = 'packs', variables: Readonly<Record<string, string>> = {}): Promise<Node> {
    if (!existsSync(BINARY)) throw new Error(`there is no ${BINARY}: run \`cargo build -p ensue\``);
    const node = new Node(resolve(import.meta.dirname, '..', packs), variables);
    await node.run('127.0.0.1:0');
    return node;
  }

  /** Starts a node on the data of an earlier one, whose token is known. */
  static async over(folder: string, packs: string, token: string, variables: Readonly<Record<string, string>>): Promise<Node> {
    const node = new Node(packs, variables, folder);
    node.token = token;
    await node.run('127.0.0.1:0');
    return node;
  }

  /** The processor time that the node has used so far, in seconds. */
  processorTime(): number {
    const fields = readFileSync(`/proc/${this.#process?.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  }

  /** Starts the node again on its port, over its data. */
  async restart(): Promise<void> {
    await this.run(new URL(this.url).host);
  }

  private async run(listen: string): Promise<void> {
    const log = join(this.#folder, 'node.log');
    mkdirSync(join(this.#folder, 'state'), { recursive: true });
    rmSync(log, { force: true });
    const started = spawn(
      BINARY,
      ['serve', '--listen', listen, '--data', join(this.#folder, 'data'), '--packs', this.packs],
      {
        cwd: this.#folder,
        env: { PATH: process.env.PATH, HOME: this.#folder, XDG_STATE_HOME: join(this.#folder, 'state'), ENSUE_MIN_FREE: '1000000', ...this.variables },
        stdio: ['ignore', 'pipe', openSync(log, 'w')],
      },
    );
    this.#process = started;
    let said = '';
    started.stdout?.on('data', (data: Buffer) => (said += data.toString()));
    const until = Date.now() + START_MS;
    for (;;) {
      const url = /listens on (\S+?),/.exec(readFileSync(log, 'utf8'))?.[1];
      this.token = /^export ENSUE_TOKEN=(\S+)$/m.exec(said)?.[1] ?? this.token;
      if (url && this.token) {
        this.url = url;
        return;
      }
      if (started.exitCode !== null || Date.now() > until) throw new Error(`the node does not start: ${readFileSync(log, 'utf8')}`);
      await new Promise((done) => setTimeout(done, 50));
    }
  }

  /** Ends it as a crash does. */
  async kill(): Promise<void> {
    const running = this.#process;
    if (!running || running.exitCode !== null) return;
    const ended = new Promise((done) => running.once('exit', done));
    running.kill('SIGKILL');
    await ended;
  }

  /** Ends the programs of actions and what watches them, as a crash of the machine would: nobody learns how they ended. */
  async loseWorkers(): Promise<void> {
    await this.kill();
    const folder = join(this.#folder, 'data', 'supervisors');
    for (const name of readdirSync(folder)) {
      const note = join(folder, name, 'held');
      if (!existsSync(note)) continue;
      const text = readFileSync(note, 'utf8');
      // The supervisor has ended, and emptied its note.
      if (text === '') continue;
      const { supervisor } = JSON.parse(text) as { supervisor: number };
      try {
        process.kill(supervisor, 'SIGKILL');
      } catch {
        // It ended by itself: its note is removed by the next start.
      }
    }
    await this.restart();
  }

  async stop(): Promise<void> {
    await this.kill();
    if (this.kept !== null) return;
    await this.endPrograms();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Ends what outlives the node: a keeper still notes in its folder how its program ended, and an action runs on. */
  private async endPrograms(): Promise<void> {
    const until = Date.now() + STOP_MS;
    for (;;) {
      const left = processesOf(this.#folder);
      if (left.length === 0) return;
      if (Date.now() > until) throw new Error(`programs of ${this.#folder} do not end: ${left.map(({ command }) => command).join(', ')}`);
      for (const { pid, command } of left) {
        // A keeper ends by itself, and takes its program with it.
        if (command.includes(`${this.#folder}/data/keepers/`)) continue;
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // It ended by itself.
        }
      }
      await new Promise((done) => setTimeout(done, 50));
    }
  }

  /** Sends a request. A read shows everything that is in the log when it is sent, also what the page did. */
  async ask<T>(method: string, path: string, body?: unknown): Promise<T> {
    if (method !== 'GET') return this.#ask<T>(method, path, {}, body);
    const newest = await this.#ask<{ items: { position: number }[] }>('GET', '/log?sort=-position&limit=1', {});
    return this.#ask<T>('GET', path, { 'ensue-position': String(newest.items[0]?.position ?? 0) });
  }

  async #ask<T>(method: string, path: string, more: Record<string, string>, body?: unknown): Promise<T> {
    const headers = { authorization: `Bearer ${this.token}`, 'content-type': 'application/json', ...more };
    const init: RequestInit = { method, headers };
    if (body !== undefined) init.body = JSON.stringify(body);
    const response = await fetch(`${this.url}/api/v1${path}`, init);
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return (text === '' ? undefined : JSON.parse(text)) as T;
  }

  /** Makes a token with roles, and returns it. */
  async tokenOf(name: string, roles: string[]): Promise<string> {
    return (await this.ask<{ token: string }>('POST', '/tokens', { name, roles })).token;
  }

  async order(id: string, note = 'careful'): Promise<void> {
    await this.ask('POST', '/events', { trigger: 'shop.order', payload: { id, note } });
  }

  /** Waits until `look` finds something. */
  async until<T>(look: () => Promise<T | undefined>): Promise<T> {
    for (const until = Date.now() + 20_000; Date.now() < until; await new Promise((done) => setTimeout(done, 50))) {
      const found = await look();
      if (found !== undefined) return found;
    }
    throw new Error('it did not happen within 20 s');
  }

  /** Waits for the question of an order, and returns its id. */
  async question(order: string): Promise<{ id: string; parent: string }> {
    return this.until(async () => {
      const { items } = await this.ask<{ items: { id: string; parent: string; title: string }[] }>('GET', '/inquiries?status=open');
      return items.find((inquiry) => inquiry.title.includes(order));
    });
  }
}

/** The processes that have a folder in their command line, or that run inside it. */
function processesOf(folder: string): { pid: number; command: string }[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0)
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
        const isOfFolder = command.includes(`${folder}/`) || readlinkSync(`/proc/${pid}/cwd`).startsWith(`${folder}/`);
        return isOfFolder ? [{ pid, command }] : [];
      } catch {
        // It ended meanwhile.
        return [];
      }
    });
}
