/** What open pages cost the node while events come: pages of people of their own, each with a stream and the reads of a list. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, test } from 'vitest';
import { Rows, type RowQuery } from '../../app/api/rows.svelte.ts';
import { Node } from '../support/node.ts';
import { FOLDER } from './big.ts';
import { Figures, quantile } from './figures.ts';

const SECONDS = Number(process.env.ENSUE_SPEED_SECONDS ?? 30);
const LISTS_PER_SECOND = 20;
const RATE = 200;
const PAGES = (process.env.ENSUE_SPEED_PAGES ?? '0,20,100').split(',').map(Number);
/** A caller has at most 20 streams, so that each page has a session of a token of its own. */
const KINDS = 'dead_letters,events,executions,inquiries,parked_reactions';
const COUNTS_EVERY_MS = 2_000;
const RIGHTS_EVERY_MS = 3_000;

const figures = new Figures();
const packs = mkdtempSync(join(tmpdir(), 'ensue-pages-'));
const cookies: string[] = [];
let node: Node;

beforeAll(async () => {
  for (const folder of ['bench/triggers', 'bench/rules']) mkdirSync(join(packs, folder), { recursive: true });
  writeFileSync(join(packs, 'bench/pack.yaml'), 'name: bench\nversion: 0.1.0\ndescription: Made for a measurement.\nrequires: { packs: { core: ^0.1 } }\n');
  writeFileSync(join(packs, 'bench/triggers/tick.yaml'), 'description: Ticks.\npayload: { n: integer, text: string }\n');
  writeFileSync(join(packs, 'bench/rules/fifth.yaml'), 'description: Runs for one event in five.\ntrigger: bench.tick\nwhen: event.payload.n % 5 == 0\naction: core.noop\n');
  node = await Node.start(packs);
  for (let at = 0; at < Math.max(...PAGES); at += 1) cookies.push(await cookieOf(await node.tokenOf(`page-${at}`, ['admin'])));
});

afterAll(async () => {
  mkdirSync(FOLDER, { recursive: true });
  figures.report(join(FOLDER, 'pages.json'));
  await node?.stop();
  rmSync(packs, { recursive: true, force: true });
});

/** Logs in with a token, as the page does, and returns the session's cookie. */
async function cookieOf(token: string): Promise<string> {
  const headers = { 'content-type': 'application/json', 'ensue-page': '1', 'sec-fetch-site': 'same-origin' };
  const opened = await fetch(`${node.url}/api/v1/sessions`, { method: 'POST', headers, body: JSON.stringify({ token }) });
  const cookie = opened.headers.getSetCookie()[0]?.split(';')[0];
  if (!cookie) throw new Error(`no session: ${opened.status} ${await opened.text()}`);
  return cookie;
}

interface Sent {
  /** How long each list took, in milliseconds. */
  took: number[];
  events: number;
}

/** Sends events at a rate, in lists, each once its time has come. */
async function send(): Promise<Sent> {
  const took: number[] = [];
  const begin = Date.now();
  for (let list = 0; list < SECONDS * LISTS_PER_SECOND; list += 1) {
    await new Promise((done) => setTimeout(done, begin + (list * 1_000) / LISTS_PER_SECOND - Date.now()));
    const at = performance.now();
    const events = Array.from({ length: RATE / LISTS_PER_SECOND }, (_, one) => ({ trigger: 'bench.tick', payload: { n: one, text: '' } }));
    await node.ask('POST', '/events', events);
    took.push(performance.now() - at);
  }
  return { took, events: took.length * (RATE / LISTS_PER_SECOND) };
}

/** A page of one person that shows the list of events, as the page reads it, without a browser. */
class OpenPage {
  reads = 0;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #rows = new Rows<{ id: string; position: number }>((query) => this.#list(query));
  readonly #timers: ReturnType<typeof setInterval>[] = [];
  #heard = 0;
  #hasNews = false;
  #isClosed = false;

  constructor(private readonly cookie: string) {}

  async open(): Promise<void> {
    const [stream] = await this.#ask(`/changes?of=${KINDS}`, { accept: 'text/event-stream' });
    stream.setEncoding('utf8');
    let text = '';
    stream.on('data', (part: string) => {
      text += part;
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
        this.#hear(text.slice(0, end));
        text = text.slice(end + 2);
      }
    });
    this.#rows.again();
    this.#timers.push(
      setInterval(() => void this.#read('/me'), RIGHTS_EVERY_MS),
      setInterval(() => {
        if (this.#hasNews) void this.#read('/now/needs_person');
        this.#hasNews = false;
      }, COUNTS_EVERY_MS),
    );
  }

  close(): void {
    this.#isClosed = true;
    for (const timer of this.#timers) clearInterval(timer);
    this.#rows.stop();
    this.#agent.destroy();
  }

  #hear(event: string): void {
    this.#heard = Number(/^id: (\d+)$/m.exec(event)?.[1] ?? this.#heard);
    const data = /^data: (.*)$/m.exec(event)?.[1];
    if (data === undefined) return;
    const { changed, more } = JSON.parse(data) as { changed: Record<string, string[]>; more: string[] };
    if (changed['events'] || more.includes('events')) this.#rows.changed(new Set(changed['events'] ?? []), more.includes('events'));
    this.#hasNews ||= Object.keys(changed).some((kind) => kind !== 'events');
  }

  async #list(query: RowQuery): Promise<{ value: { items: { id: string; position: number }[]; next: string | null }; position: number }> {
    const given = new URLSearchParams({ trigger: 'bench.tick', limit: query.limit ?? '' });
    for (const id of query.id ?? []) given.append('id', id);
    if (query.cursor) given.append('cursor', query.cursor);
    await this.#read(`/events?${given}`);
    return { value: { items: [], next: null }, position: 0 };
  }

  async #read(path: string): Promise<void> {
    this.reads += 1;
    try {
      const [answer] = await this.#ask(path, { accept: 'application/json', 'ensue-position': String(this.#heard) });
      answer.resume();
      await new Promise((done) => answer.on('close', done));
      if (answer.statusCode !== 200) throw new Error(`${path}: ${answer.statusCode}`);
    } catch (error) {
      // A page that is closed gets no answer to its last request.
      if (!this.#isClosed) throw error;
    }
  }

  #ask(path: string, more: Record<string, string>): Promise<[IncomingMessage]> {
    const headers = { cookie: this.cookie, 'sec-fetch-site': 'same-origin', 'accept-encoding': 'gzip, deflate, br, zstd', 'ensue-page': '1', ...more };
    return new Promise((done, fail) => {
      request(`${node.url}/api/v1${path}`, { headers, agent: this.#agent }, (answer) => done([answer])).on('error', fail).end();
    });
  }
}

for (const count of PAGES) {
  test(`${count} open pages`, async () => {
    const pages = cookies.slice(0, count).map((cookie) => new OpenPage(cookie));
    await Promise.all(pages.map((page) => page.open()));
    const [before, begin] = [node.processorTime(), Date.now()];
    const { took, events } = await send();
    const seconds = (Date.now() - begin) / 1_000;
    const each = (1_000 * (node.processorTime() - before)) / events;
    const reads = pages.reduce((sum, page) => sum + page.reads, 0);
    for (const page of pages) page.close();
    console.log(`${count} pages: ${each.toFixed(3)} ms an event, ${(reads / seconds).toFixed(0)} reads a second, a list of ten events p50 ${quantile(took, 0.5).toFixed(1)} p99 ${quantile(took, 0.99).toFixed(1)} ms`);
    figures.add(`processor time of the node for an event, with ${count} pages`, 'ms', [each], null);
    figures.add(`a request with ${RATE / LISTS_PER_SECOND} events, with ${count} pages`, 'ms', took, null);
  });
}
