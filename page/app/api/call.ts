/** Requests to the API. Every request of the page goes through here. */

import { parseJson, writeJson } from './json.ts';
import type { Operations, Problem } from './types.ts';

const BASE = '/api/v1';
/** How often a read is repeated whose view has not reached a write yet. */
const BEHIND_TRIES = 3;
const BEHIND_WAIT_MS = 400;

/** Requests whose 401 is not about the session. */
const LOGINS: ReadonlySet<string> = new Set(['GET /me', 'POST /sessions', 'POST /inquiries/links/open']);

export type Operation = keyof Operations;
type PathOf<O extends Operation> = Record<Extract<Operations[O]['path'], string>, string>;
type QueryOf<O extends Operation> = Partial<Record<Extract<Operations[O]['query'], string>, string | number | boolean | readonly string[] | undefined>>;

export type Given<O extends Operation> = ([Operations[O]['path']] extends [never] ? { path?: undefined } : { path: PathOf<O> }) & {
  query?: QueryOf<O>;
  body?: Operations[O]['body'];
  /** Carries a write out once, however often it is sent. A dialog makes one key when it opens. */
  key?: string;
  /** Asks for an answer at once, about something that continues without the request. */
  prefer?: 'respond-async';
  signal?: AbortSignal | undefined;
};

export interface Answer<T> {
  value: T;
  /** The position of the log that the answer shows; 0 if it shows none. */
  position: number;
}

/** A refusal of the node, or no answer from it. */
export class CallError extends Error {
  constructor(
    /** The node's problem; null if the node did not answer. */
    readonly problem: Problem | null,
    readonly status: number,
  ) {
    super(problem?.title ?? 'no answer');
  }

  get code(): string {
    return this.problem?.code ?? 'unreachable';
  }
}

/** What happens when the node no longer accepts the session. `session.svelte.ts` sets it. */
export const onUnauthenticated: { run: () => void } = { run: () => {} };

/** The position of this browser's last write, and the one that the stream of changes has reached. Reads that follow show at least that. */
let written = 0;
let heard = 0;

export function forgetPosition(): void {
  written = 0;
  heard = 0;
}

/** Notes the position that the stream has reached, so that an answer that others share is not from before it. */
export function hear(position: number): void {
  heard = position;
}

/** Returns a key for one write. */
export function newKey(): string {
  return crypto.randomUUID();
}

export function addressOf(operation: string, path: Record<string, string> | undefined, query: Record<string, unknown> | undefined): string {
  const template = operation.slice(operation.indexOf(' ') + 1);
  const filled = template.replace(/\{([^}]+)\}/g, (_, name: string) => encodeURIComponent(path?.[name] ?? ''));
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    for (const one of Array.isArray(value) ? (value as unknown[]) : [value]) {
      if (one !== undefined && one !== '') given.append(name, String(one));
    }
  }
  const text = given.toString();
  return `${BASE}${filled}${text && `?${text}`}`;
}

export async function call<O extends Operation>(operation: O, given: Given<O>): Promise<Answer<Operations[O]['answer']>> {
  const method = operation.slice(0, operation.indexOf(' '));
  const headers: Record<string, string> = { accept: 'application/json', 'ensue-page': '1' };
  const seen = Math.max(written, heard);
  if (method === 'GET' && seen > 0) headers['ensue-position'] = String(seen);
  if (given.prefer) headers.prefer = given.prefer;
  if (given.key) headers['idempotency-key'] = given.key;
  if (method !== 'GET') headers['content-type'] = 'application/json';
  const address = addressOf(operation, given.path, given.query);
  const init: RequestInit = { method, headers, credentials: 'same-origin', redirect: 'error', signal: given.signal ?? null };
  if (method === 'POST' || method === 'PUT') init.body = writeJson(given.body ?? {});
  for (let tries = 1; ; tries += 1) {
    try {
      const answer = await send<Operations[O]['answer']>(address, init);
      if (method !== 'GET' && answer.position > written) written = answer.position;
      return answer;
    } catch (error) {
      if (!(error instanceof CallError)) throw error;
      if (error.code === 'view_behind' && tries <= BEHIND_TRIES) {
        await new Promise((done) => setTimeout(done, BEHIND_WAIT_MS * tries));
        continue;
      }
      if (error.status === 401 && error.code !== 'only_one_inquiry' && !LOGINS.has(operation)) onUnauthenticated.run();
      throw error;
    }
  }
}

async function send<T>(address: string, init: RequestInit): Promise<Answer<T>> {
  let response: Response;
  let text: string;
  try {
    response = await fetch(address, init);
    text = await response.text();
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new CallError(null, 0);
  }
  const isJson = response.headers.get('content-type')?.split(';')[0]?.endsWith('json') ?? false;
  const value = isJson && text !== '' ? parseJson(text) : undefined;
  if (!response.ok) throw new CallError(isProblem(value) ? value : null, response.status);
  return { value: value as T, position: Number(response.headers.get('ensue-position') ?? 0) };
}

function isProblem(value: unknown): value is Problem {
  return typeof value === 'object' && value !== null && 'code' in value && 'title' in value;
}

/** Opens a stream of events, such as an output that is followed. */
export async function openStream(address: string, signal: AbortSignal, lastId?: string): Promise<Response> {
  const headers: Record<string, string> = { accept: 'text/event-stream', 'ensue-page': '1' };
  if (lastId) headers['last-event-id'] = lastId;
  return fetch(`${BASE}${address}`, { headers, signal, credentials: 'same-origin', redirect: 'error' });
}
