import { expect, test } from 'vitest';
import { inquiryOf, pastPathOf, tracePathOf } from './kinds.ts';
import { positionOf, queryOf } from './asOf.ts';

test('an address names the past by a position, and anything else is the present', () => {
  const of = (query: string): string | undefined => positionOf(new URLSearchParams(query));
  expect([of('as_of=4711'), of('tab=data&as_of=1')]).toEqual(['4711', '1']);
  expect([of(''), of('as_of='), of('as_of=0'), of('as_of=-1'), of('as_of=2h'), of('as_of=1e3')]).toEqual(Array(6).fill(undefined));
  expect([queryOf('4711'), queryOf(undefined)]).toEqual([{ as_of: '4711' }, {}]);
});

test('a record of a question names it, although it is among those of its execution', () => {
  expect(inquiryOf({ kind: 'inquiry.opened', id: 'a', fact: {} })).toBe('a');
  expect(inquiryOf({ kind: 'inquiry.answered', id: 'b', fact: { inquiry: 'a' } })).toBe('a');
  expect(inquiryOf({ kind: 'execution.requested', id: 'c', fact: { inquiry: 'a' } })).toBeNull();
  expect([pastPathOf('execution/x'), pastPathOf('pack/shop'), tracePathOf('enforcement/y'), tracePathOf('rule/shop.big')]).toEqual(['/executions/x', null, '/trace/y', null]);
});
