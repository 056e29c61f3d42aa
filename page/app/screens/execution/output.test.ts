import { expect, test } from 'vitest';
import type { GraphNode } from '../../api/types.ts';
import { linesOf, piecesOf } from './output.ts';
import { firstFailed } from './steps.ts';

test('colours become styles, and other control characters pictures', () => {
  expect(piecesOf('a\u001b[32mgreen\u001b[0m b')).toEqual([
    { text: 'a', style: '' },
    { text: 'green', style: 'green' },
    { text: ' b', style: '' },
  ]);
  expect(piecesOf('\u001b]52;c;aGVsbG8=\u0007')).toEqual([{ text: '␛]52;c;aGVsbG8=␇', style: '' }]);
  expect(piecesOf('\u001b[1;91mred\u001b[39m')).toEqual([{ text: 'red', style: 'red' }]);
});

test('lines end at line feeds, and a carriage return hides nothing', () => {
  expect(linesOf('one\r\ntwo\nold\rnew\n')).toEqual(['one', 'two', 'old\rnew']);
  expect(linesOf('')).toEqual([]);
});

test('the first step that failed is found, also among items', () => {
  const step = (name: string, state: GraphNode['state'], counts: Record<string, number> = {}): GraphNode =>
    ({ step: name, state, counts }) as GraphNode;
  expect(firstFailed([step('a', 'succeeded'), step('b', 'running', { failed: 1, running: 9_999 }), step('c', 'failed')])?.step).toBe('b');
  expect(firstFailed([step('a', 'succeeded')])).toBeUndefined();
});
