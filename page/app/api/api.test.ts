import { afterEach, expect, test, vi } from 'vitest';
import { CallError, addressOf, call, forgetPosition } from './call.ts';
import { Exact, parseJson, writeJson } from './json.ts';
import { Once } from './once.ts';
import { EventParser } from './sse.ts';
import { ChangeStream, type Told } from './stream.ts';

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
  forgetPosition();
});

/** Answers requests, and notes them. */
function answering(...answers: (() => Response)[]): Request[] {
  const asked: Request[] = [];
  vi.stubGlobal('fetch', (address: string, init: RequestInit) => {
    asked.push(new Request(new URL(address, 'http://node.test'), { ...init, signal: init.signal ?? null } as RequestInit));
    const answer = answers.length > 1 ? answers.shift() : answers[0];
    if (!answer) throw new TypeError('no connection');
    return Promise.resolve(answer());
  });
  return asked;
}

const json = (value: unknown, init: ResponseInit = {}): (() => Response) => () => new Response(JSON.stringify(value), { ...init, headers: { 'content-type': 'application/json', ...init.headers } });

test('an address names its parts, and repeats lists', () => {
  expect(addressOf('GET /executions/{id}', { id: 'a/b' }, { tail: 5, x: undefined, y: '' })).toBe('/api/v1/executions/a%2Fb?tail=5');
  expect(addressOf('GET /executions', undefined, { status: ['failed', 'running'] })).toBe('/api/v1/executions?status=failed&status=running');
});

test('a read after a write shows the write', async () => {
  const asked = answering(json({}, { headers: { 'ensue-position': '7' } }));
  await call('POST /executions/{id}/pause', { path: { id: 'x' }, body: {}, key: 'k1' });
  await call('GET /executions/{id}', { path: { id: 'x' } });
  expect(asked[0]?.headers.get('idempotency-key')).toBe('k1');
  expect(asked.map((one) => one.headers.get('ensue-page'))).toEqual(['1', '1']);
  expect(asked.map((one) => one.headers.get('ensue-position'))).toEqual([null, '7']);
});

test('a view that is behind is read again', async () => {
  vi.useFakeTimers();
  const behind = json({ code: 'view_behind', title: 't', status: 503 }, { status: 503 });
  const asked = answering(behind, behind, json({ id: 'x' }));
  const answer = call('GET /executions/{id}', { path: { id: 'x' } });
  await vi.runAllTimersAsync();
  expect((await answer).value).toEqual({ id: 'x' });
  expect(asked.length).toBe(3);
});

test('a refusal has its code, and no answer has none', async () => {
  answering(json({ code: 'forbidden', title: 'Not allowed', status: 403 }, { status: 403 }));
  const refused = await call('GET /me', {}).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(CallError);
  expect([(refused as CallError).code, (refused as CallError).status]).toEqual(['forbidden', 403]);
  vi.stubGlobal('fetch', () => Promise.reject(new TypeError('no connection')));
  expect(((await call('GET /me', {}).catch((error: unknown) => error)) as CallError).code).toBe('unreachable');
});

test('numbers are shown as they came', () => {
  const text = '{"a": 9007199254740993, "b": 1.5, "c": 0.12345678901234567890}';
  const value = parseJson(text) as Record<string, unknown>;
  expect(value.b).toBe(1.5);
  // Older engines do not hand out the source of a number.
  if (value.a instanceof Exact) expect(writeJson(value)).toContain('9007199254740993');
  expect(writeJson(new Exact('9007199254740993'))).toBe('9007199254740993');
});

test('JSON is written as JSON, whatever its keys are called', () => {
  const value = JSON.parse('{"__proto__": {"x": 1}, "constructor": [], "l": [1, {}]}') as unknown;
  expect(JSON.parse(writeJson(value))).toEqual(value);
  expect(Object.keys(JSON.parse(writeJson(value)) as object)).toContain('__proto__');
});

test('the same write has the same key until it is done', () => {
  const once = new Once();
  const key = once.keyFor({ a: 1 });
  expect(once.keyFor({ a: 1 })).toBe(key);
  expect(once.keyFor({ a: 2 })).not.toBe(key);
  const last = once.keyFor({ a: 3 });
  once.done();
  expect(once.keyFor({ a: 3 })).not.toBe(last);
});

test('events are read however the text is cut', () => {
  const text = ': hello\n\nid: 30\n\nid: 31\ndata: {"a":\ndata: 1}\n\nevent: end\ndata: x\r\n\r\n';
  for (let cut = 0; cut <= text.length; cut += 1) {
    const parser = new EventParser();
    const events = [...parser.take(text.slice(0, cut)), ...parser.take(text.slice(cut))];
    expect(events, String(cut)).toEqual([
      { id: '30', event: '', data: '' },
      { id: '31', event: '', data: '{"a":\n1}' },
      { id: '31', event: 'end', data: 'x' },
    ]);
  }
});

test('the stream continues after the last change that it heard', async () => {
  vi.useFakeTimers();
  const changes = 'id: 31\ndata: {"changed":{"executions":["x"]},"more":[],"reset":false}\n\n';
  const asked = answering(() => new Response(changes, { headers: { 'content-type': 'text/event-stream' } }));
  const told: Told[] = [];
  const stream = new ChangeStream((one) => told.push(one));
  stream.want(['inquiries', 'executions', 'executions']);
  await vi.advanceTimersByTimeAsync(2_000);
  stream.want([]);
  expect(asked[0]?.url).toContain('of=executions%2Cinquiries');
  expect(asked.map((one) => one.headers.get('last-event-id')).slice(0, 2)).toEqual([null, '31']);
  expect(told.filter((one) => one.kind === 'line').map((one) => one.line).slice(0, 3)).toEqual(['live', 'broken', 'live']);
  expect(told.filter((one) => one.kind === 'changes').slice(0, 2)).toMatchObject([
    // Nobody said what the screens show, so all of it may be out of date.
    { position: 31, changes: { reset: true } },
    { position: 31, changes: { changed: { executions: ['x'] } } },
  ]);
});

test('the stream goes back to the position of a tab that is behind it, and not for one that is ahead', async () => {
  vi.useFakeTimers();
  const open = (): Response => new Response(new ReadableStream({ start: (body) => body.enqueue(new TextEncoder().encode('id: 31\n\n')) }));
  const asked = answering(open);
  const told: Told[] = [];
  const stream = new ChangeStream((one) => told.push(one));
  const wants = async (kinds: string[], after: number): Promise<void> => {
    stream.want(kinds, after);
    await vi.advanceTimersByTimeAsync(10);
  };
  await wants(['executions'], 30);
  await wants(['executions'], 31);
  await wants(['executions'], 29);
  await wants(['executions', 'inquiries'], 40);
  stream.want([]);
  expect(asked.map((one) => one.headers.get('last-event-id'))).toEqual(['30', '29', '31']);
  expect(told.filter((one) => one.kind !== 'line')).toEqual(Array(3).fill({ kind: 'place', position: 31 }));
});

test('a stream whose position belongs to another log starts again, and says that anything may have changed', async () => {
  vi.useFakeTimers();
  const asked = answering(json({ code: 'invalid_parameter', title: 'x' }, { status: 400 }), () => new Response('id: 7\n\n'));
  const told: Told[] = [];
  const stream = new ChangeStream((one) => told.push(one));
  stream.want(['executions'], 900);
  await vi.advanceTimersByTimeAsync(1_900);
  stream.want([]);
  expect(asked.map((one) => one.headers.get('last-event-id')).slice(0, 2)).toEqual(['900', null]);
  expect(told.find((one) => one.kind === 'changes')).toMatchObject({ position: 7, changes: { reset: true } });
});
