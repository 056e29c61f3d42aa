import { expect, test } from 'vitest';
import type { Branch, Twig } from '../../why/trace.ts';
import { BOXES_MAX, boxAfter, drawingOf } from './graph.ts';

const branch = (id: string, ...below: Branch[]): Branch => ({
  node: { id, kind: 'execution' } as Branch['node'],
  below: below.map((of): Twig => ({ kind: 'one', of })),
});

test('a thing is one rank after its cause, in the middle of what it led to', () => {
  const drawing = drawingOf([branch('event', branch('rule', branch('one'), branch('two'), branch('three')), branch('other'))]);
  expect(drawing.boxes.map(({ key, rank, lane, cause }) => [key, rank, lane, cause])).toEqual([
    ['event', 0, 2, null],
    ['rule', 1, 1, 'event'],
    ['one', 2, 0, 'rule'],
    ['two', 2, 1, 'rule'],
    ['three', 2, 2, 'rule'],
    ['other', 1, 3, 'event'],
  ]);
  expect(drawing.lines.map(({ key }) => key)).toEqual(['rule', 'one', 'two', 'three', 'other']);
});

test('arrows lead to the cause, to what followed, and to neighbors', () => {
  const drawing = drawingOf([branch('event', branch('rule', branch('one'), branch('two')))]);
  const after = (key: string, pressed: string): string | undefined => boxAfter(drawing, key, pressed)?.key;
  expect([after('rule', 'ArrowLeft'), after('rule', 'ArrowRight'), after('one', 'ArrowDown'), after('two', 'ArrowUp'), after('event', 'ArrowLeft')]).toEqual(['event', 'one', 'two', 'one', undefined]);
});

test('what is too much to draw is counted', () => {
  const drawing = drawingOf([branch('event', ...Array.from({ length: BOXES_MAX + 9 }, (_, at) => branch(`execution ${at}`)))]);
  expect([drawing.boxes.length, drawing.left]).toEqual([BOXES_MAX, 10]);
});
