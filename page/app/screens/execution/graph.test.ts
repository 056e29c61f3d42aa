import { expect, test } from 'vitest';
import type { Graph, GraphNode } from '../../api/types.ts';
import { BOX, BOXES_MAX, boxAfter, criticalOf, drawingOf } from './graph.ts';

const step = (name: string, rank: number, lane: number, state: GraphNode['state'] = 'succeeded'): GraphNode =>
  ({ step: name, rank, lane, state, counts: {}, needs: [] }) as unknown as GraphNode;

function graphOf(nodes: GraphNode[], edges: [string, string][], critical: string[] = []): Graph {
  return { execution: 'x', catalog: 1, critical, edges: edges.map(([from, to]) => ({ from, to })), nodes, truncated: false };
}

const DIAMOND = graphOf(
  [step('build', 0, 0), step('test', 1, 0), step('scan', 1, 1, 'failed'), step('deploy', 2, 0, 'to_come')],
  [['build', 'test'], ['build', 'scan'], ['test', 'deploy'], ['scan', 'deploy']],
  ['build', 'scan', 'deploy'],
);

test('a step is drawn at its rank and lane, and a line to a step to come is dashed', () => {
  const drawing = drawingOf(DIAMOND, 'right');
  const boxes = new Map(drawing.boxes.map((box) => [box.key, box]));
  expect(boxes.get('build')).toMatchObject({ x: 0, y: 0 });
  expect(boxes.get('test')?.x).toBe(boxes.get('scan')?.x);
  expect(boxes.get('scan')?.y).toBeGreaterThanOrEqual(BOX.height);
  expect(boxes.get('deploy')?.x).toBeGreaterThan(boxes.get('test')?.x ?? 0);
  expect(drawing.lines.map((line) => [line.from, line.to, line.isToCome])).toEqual([
    ['build', 'test', false], ['build', 'scan', false], ['test', 'deploy', true], ['scan', 'deploy', true],
  ]);
  expect(drawing.lines.filter((line) => line.isCritical).map((line) => line.to)).toEqual(['scan', 'deploy']);
});

test('on a narrow screen ranks go down', () => {
  const boxes = new Map(drawingOf(DIAMOND, 'down').boxes.map((box) => [box.key, box]));
  expect(boxes.get('test')?.y).toBe(boxes.get('scan')?.y);
  expect(boxes.get('scan')?.x).toBeGreaterThanOrEqual(BOX.width);
  expect(boxes.get('deploy')?.y).toBeGreaterThan(boxes.get('test')?.y ?? 0);
});

test('arrows follow lines, and go to the neighbor of the same rank', () => {
  const drawing = drawingOf(DIAMOND, 'right');
  const after = (key: string, pressed: string): string | undefined => boxAfter(drawing, key, pressed, 'right')?.key;
  expect(after('build', 'ArrowRight')).toBe('test');
  expect(after('test', 'ArrowDown')).toBe('scan');
  expect(after('scan', 'ArrowUp')).toBe('test');
  expect(after('deploy', 'ArrowLeft')).toBe('test');
  expect(after('deploy', 'ArrowRight')).toBeUndefined();
  expect(boxAfter(drawingOf(DIAMOND, 'down'), 'build', 'ArrowDown', 'down')?.key).toBe('test');
});

test('above the limit, steps side by side share a box, which leads to the one that failed', () => {
  const wide = Array.from({ length: BOXES_MAX }, (_, at) => step(`w${at}`, 1, at, at === 77 ? 'failed' : 'succeeded'));
  const edges = wide.flatMap((node): [string, string][] => [['first', node.step], [node.step, 'last']]);
  const drawing = drawingOf(graphOf([step('first', 0, 0), ...wide, step('last', 2, 0)], edges), 'right');
  expect(drawing.boxes.map((box) => [box.node.step, box.nodes.length])).toEqual([['first', 1], ['w77', BOXES_MAX], ['last', 1]]);
  expect(drawing.lines.length).toBe(2);
  expect(drawing.left).toBe(0);
});

test('a chain that is longer than the limit is drawn in part, and says how much is left', () => {
  const chain = Array.from({ length: 250 }, (_, at) => step(`c${at}`, at, 0));
  const drawing = drawingOf(graphOf(chain, []), 'right');
  expect([drawing.boxes.length, drawing.left]).toEqual([BOXES_MAX, 50]);
});

test('a step that was skipped is not on the critical path', () => {
  const graph = graphOf([step('a', 0, 0), step('b', 1, 0, 'skipped')], [['a', 'b']], ['a', 'b']);
  expect([...criticalOf(graph)]).toEqual(['a']);
});
