import { expect, test } from 'vitest';
import type { ConditionTree, TraceNode, TraceNodeExecution } from '../api/types.ts';
import { parseJson, writeJson } from '../api/json.ts';
import { fieldOf, fieldsRead, flippingFields, placed, waysOf } from './condition.ts';
import { linesOf, readValue, valueAt, withValueAt, pathOf, withForm } from './fields.ts';
import { isOpen } from './following.svelte.ts';
import { branchOf, isUrgent, statusesOf, statusesOfTwig, treesOf } from './trace.ts';

const WHOLE = 'event.payload.größe > 1 && (event.payload.id == "A" || !event.payload.tags[0])';

/** Makes a part of the condition, whose span is in bytes. */
function part(source: string, given: Partial<ConditionTree> = {}): ConditionTree {
  const start = new TextEncoder().encode(WHOLE.slice(0, WHOLE.indexOf(source))).length;
  const span = { start, end: start + new TextEncoder().encode(source).length };
  return { note: null, outcome: 'false', parts: [], reached: true, readings: [], shape: 'whole', source, span, value: null, ...given };
}

const size = part('event.payload.größe > 1', { readings: [{ path: 'event.payload.größe', value: '0' }] });
const id = part('event.payload.id == "A"', { readings: [{ path: 'event.payload.id', value: '"B"' }] });
const tag = part('event.payload.tags[0]', { readings: [{ path: 'event.payload.tags.0', value: 'true' }, { path: 'local.x', value: '1' }] });
const not = part('!event.payload.tags[0]', { shape: 'not', parts: [tag] });
const any = part('event.payload.id == "A" || !event.payload.tags[0]', { shape: 'any', parts: [id, not] });
const tree = part(WHOLE, { shape: 'all', parts: [size, any] });

test('the parts of a condition and the text around them are its source', () => {
  const written = (one: ConditionTree): string =>
    one.parts.length === 0 ? one.source : placed(one, WHOLE).map(({ part: below, lead, tail }) => `${lead}${written(below)}${tail}`).join('');
  expect(written(tree).replace(/\s/g, '')).toBe(WHOLE.replace(/\s/g, ''));
  expect(placed(tree, WHOLE).map(({ lead, tail }) => [lead, tail])).toEqual([['', ''], ['&& (', ')']]);
});

test('a part reads the fields of the payload that the parts below it read', () => {
  expect(fieldsRead(tree)).toEqual(['größe', 'id', 'tags.0']);
  expect(fieldsRead(not)).toEqual(['tags.0']);
  expect(fieldOf('event.payload')).toBe('');
  expect(fieldOf('event.payloads')).toBeNull();
});

test('the fields on the shortest way to another verdict are those that would flip it', () => {
  const turn = (one: ConditionTree): { part: ConditionTree; to: boolean } => ({ part: one, to: true });
  const judged = {
    verdict: 'not_matched' as const,
    explanation: tree,
    flips: [
      { to: true, turns: [turn(size), turn(id)], already: [] },
      { to: true, turns: [turn(size), turn(not)], already: [] },
      { to: false, turns: [], already: [] },
    ],
  };
  expect(waysOf(judged).length).toBe(2);
  expect(flippingFields(judged)).toEqual(['größe', 'id']);
  expect(flippingFields({ ...judged, verdict: 'matched' })).toEqual([]);
});

test('a payload is written as lines that are its JSON, with the path of each field', () => {
  const payload = parseJson('{"id":"A","big":12345678901234567890,"list":[{"x":null},[]],"none":{}}');
  const { lines, left } = linesOf(payload, []);
  const text = lines.map((line) => `${'  '.repeat(line.depth)}${line.name}${line.text}`).join('\n');
  expect(text).toBe(writeJson(payload));
  expect(left).toBe(0);
  expect(lines.map((line) => line.path)).toEqual(['', 'id', 'big', 'list', 'list.0', 'list.0.x', null, 'list.1', null, 'none', null]);
});

test('a field that is read and is not there has a line where it would be', () => {
  const { lines } = linesOf({ a: { b: 1 } }, ['a.c', 'a.b', 'x.y', 'z']);
  expect(lines.filter((line) => line.isMissing).map((line) => [line.path, line.depth])).toEqual([['a.c', 2], ['z', 1]]);
});

test('a long payload says how much is left out', () => {
  const { lines, left } = linesOf(Array.from({ length: 100 }, (_, at) => at), [], 10);
  expect([lines.length, left]).toEqual([10, 92]);
});

test('another value at a field leaves the others as they were', () => {
  const payload = { a: { b: [1, 2] }, c: 'x' };
  expect(withValueAt(payload, 'a.b.1', 3)).toEqual({ a: { b: [1, 3] }, c: 'x' });
  expect(withValueAt(payload, 'c', undefined)).toEqual({ a: { b: [1, 2] } });
  expect(withValueAt(payload, 'd.e', true)).toEqual({ ...payload, d: { e: true } });
  expect(payload).toEqual({ a: { b: [1, 2] }, c: 'x' });
  expect(Object.keys(withValueAt({}, '__proto__', 1) as object)).toEqual(['__proto__']);
  expect(valueAt(payload, 'a.b.1')).toEqual({ isThere: true, value: 2 });
  expect(valueAt(payload, 'toString')).toEqual({ isThere: false, value: undefined });
});

test('what is written for a field is a text where it was one, and JSON elsewhere', () => {
  expect(readValue('12', 'x')).toBe('12');
  expect(readValue('12', 1)).toBe(12);
  expect(readValue('urgent', undefined)).toBe('urgent');
  expect(readValue('', undefined)).toBeUndefined();
});

const base = { position: 1, time: '2026-11-26T08:00:00Z', micros: 0 };
const event: TraceNode = { ...base, id: 'e', parent: null, kind: 'event', trigger: 'a.b', source: 'api', matched: 1, erred: 0, not_matched: [] };
const execution = (given: Partial<TraceNodeExecution>): TraceNode => ({
  ...base, id: 'x', parent: 'e', kind: 'execution', action: 'a.c', status: 'succeeded', attempt: 1, started_micros: 0, ended_micros: 5,
  error: null, step: null, item: null, not_started: [], not_started_count: 0, ...given,
});

test('a trace is a tree, and many items of a step are one', () => {
  const items = [0, 1, 2, 3, 4].map((item) => execution({ id: `i${item}`, parent: 'x', step: 'pack', item, status: item === 3 ? 'failed' : 'succeeded' }));
  const trees = treesOf([event, execution({}), ...items, execution({ id: 'd', parent: 'x', step: 'deploy' }), execution({ id: 'o', parent: 'gone' })]);
  expect(trees.map((tree) => tree.node.id)).toEqual(['e', 'o']);
  const workflow = branchOf(trees, 'x');
  expect(workflow?.below.map((twig) => (twig.kind === 'one' ? twig.of.node.id : twig.of.step))).toEqual(['pack', 'd']);
  const [first] = workflow?.below ?? [];
  const all = first?.kind === 'items' ? first.of.items : [];
  expect(statusesOf(all)).toEqual([['failed', 1], ['succeeded', 4]]);
  expect(isUrgent(all)).toBe(true);
  expect(branchOf(trees, 'i4')?.node.id).toBe('i4');
});

test('a trace is read again only while something in it is open', () => {
  const trace = { root: 'e', asked: 'e', began_at: base.time, folded: [], next: null, truncated: false, nodes: [event, execution({})] };
  const began = Date.parse(base.time);
  expect(isOpen(trace, began + 1_000)).toBe(true);
  expect(isOpen(trace, began + 3_600_000)).toBe(false);
  expect(isOpen({ ...trace, nodes: [event, execution({ ended_micros: null })] }, began + 3_600_000)).toBe(true);
});

test('what a form says replaces its fields, and leaves others', () => {
  expect(withForm({ id: 'A', extra: 1, note: 'x' }, { id: 'B' }, ['id', 'note'])).toEqual({ id: 'B', extra: 1 });
  expect(withForm([1], { id: 'B' }, ['id'])).toEqual({ id: 'B' });
  expect(['', '/amount', '/items/0/a~1b~0'].map(pathOf)).toEqual(['', 'amount', 'items.0.a/b~']);
});

test('items that the node only counted are below their workflow, the most urgent first', () => {
  const fold = { parent: 'x', step: 'ship', items: 900, below: 0, statuses: { succeeded: 890, failed: 10 } };
  const [tree] = treesOf([event, execution({})], [fold]);
  const [twig] = (tree && branchOf([tree], 'x'))?.below ?? [];
  expect(twig).toEqual({ kind: 'folded', of: fold });
  expect(twig && statusesOfTwig(twig)).toEqual([['failed', 10], ['succeeded', 890]]);
});
