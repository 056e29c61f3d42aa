import { expect, test } from 'vitest';
import type { FoundItem } from '../api/types.ts';
import { entriesOf, wrapped } from './palette.ts';

const ID = '01a216f3-8c51-7ff7-8048-538917dfbc6f';
const found = [
  { kind: 'action', id: 'shop.print', title: 'Prints a text.', status: null, at: null },
  { kind: 'execution', id: ID, title: 'shop.print', status: 'failed', at: null },
  { kind: 'trigger', id: 'shop.order', title: 'An order came.', status: null, at: null },
  { kind: 'enforcement', id: ID, title: 'x', status: null, at: null },
] as FoundItem[];
const actions = [
  { keys: 'g k', label: 'Go to Keys', run: () => {} },
  { keys: 'j', label: 'Next key', isHidden: true, run: () => {} },
];

test('what was found comes first, where the page has a screen for it', () => {
  const entries = entriesOf('shop', found, actions, (path) => !path.startsWith('/triggers'));
  expect(entries.map(({ title, path }) => [title, path])).toEqual([
    ['shop.print', '/actions/shop.print'],
    ['Run shop.print', '/actions/shop.print/run'],
    ['shop.print', `/executions/${ID}`],
  ]);
});

test('a caller without the permission to run actions is not offered any', () => {
  expect(entriesOf('shop', found, [], (path) => !path.endsWith('/run')).map((entry) => entry.title)).not.toContain('Run shop.print');
});

test('screens and actions are found by a part of what they are called', () => {
  expect(entriesOf('KEY', [], actions, () => true).map((entry) => entry.title)).toEqual(['Go to Keys']);
  expect(entriesOf('settings', [], actions, () => true).map((entry) => entry.path)).toEqual(['/me']);
});

test('after the last entry comes the first', () => {
  expect([wrapped(3, 3), wrapped(-1, 3), wrapped(1, 0)]).toEqual([0, 2, 0]);
});
