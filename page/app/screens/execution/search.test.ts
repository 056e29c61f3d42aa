import { expect, test } from 'vitest';
import { sizeInWords } from '../../parts/size.ts';
import { linesWith, placeOf, stepFrom, type Found } from './search.ts';

test('lines are found in any case of letters, and through colors', () => {
  const lines = ['Error: disk full', 'fine', '\u001b[31mer\u001b[0mror again'];
  expect([linesWith(lines, 'ERROR'), linesWith(lines, 'fine'), linesWith(lines, 'no such'), linesWith(lines, '')]).toEqual([[0, 2], [1], [], []]);
});

test('a search begins at the last line, and goes around', () => {
  const found: Found[] = [{ stream: 'stdout', line: 2 }, { stream: 'stdout', line: 9 }, { stream: 'stderr', line: 2 }];
  const last = stepFrom(found, null, 1);
  expect(last).toEqual({ stream: 'stderr', line: 2 });
  expect(stepFrom(found, last, 1)).toEqual({ stream: 'stdout', line: 2 });
  expect(stepFrom(found, last, -1)).toEqual({ stream: 'stdout', line: 9 });
  expect([placeOf(found, last), placeOf(found, { stream: 'stderr', line: 9 }), stepFrom([], null, 1)]).toEqual([2, -1, null]);
});

test('sizes are written in units of 1,024', () => {
  expect([812, 262_144, 1_572_864, 41_943_040].map(sizeInWords)).toEqual(['812 B', '256 KiB', '1.5 MiB', '40 MiB']);
});
