import { expect, test } from 'vitest';
import { linesOf, piecesOf } from './output.ts';

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
