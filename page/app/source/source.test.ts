import { expect, test } from 'vitest';
import type { PackFinding, TextToken } from '../api/types.ts';
import { patchOf } from './diff.ts';
import { byLine, candidates, fileAddress, findingsOf } from './files.ts';
import { linesOf } from './pieces.ts';

const found = (given: Partial<PackFinding>): PackFinding => ({
  code: 'unknown_read', column: 1, end_column: 2, end_line: 1, file: 'shop/rules/a.yaml', hint: null, line: 1, message: 'm', pack: 'shop', page: 'p',
  severity: 'error', span: { start: 0, end: 1 }, suggestion: null, ...given,
});

test('findings are those of the file, at their lines', () => {
  const all = [found({ line: 2 }), found({ file: 'shop/rules/b.yaml' }), found({ line: 99 }), found({ pack: 'other', file: 'other/rules/a.yaml' })];
  const own = findingsOf(all, 'shop', 'rules/a.yaml');
  expect(own.map((finding) => finding.line)).toEqual([2, 99]);
  expect([...byLine(own, 5).keys()]).toEqual([2, 5]);
});

test('the file of a definition is the one of its name, or another of its kind', () => {
  const paths = ['pack.yaml', 'rules/all.yaml', 'rules/big.yaml', 'rules/note.md', 'actions/big.yaml', 'actions/all.yml'];
  expect(candidates('shop.big', 'rule', paths)).toEqual(['rules/big.yaml', 'rules/all.yaml']);
  expect(candidates('shop.small', 'action', paths)).toEqual(['actions/big.yaml', 'actions/all.yml']);
});

test('a text is its tokens and what lies between them', () => {
  const text = 'when: a > 1\n# b\n';
  const tokens: TextToken[] = [[0, 4, 'key'], [4, 1, 'punctuation'], [6, 1, 'identifier'], [8, 1, 'operator'], [10, 1, 'number'], [12, 3, 'comment']];
  const lines = linesOf(text, tokens);
  expect(lines.map((line) => line.map((piece) => piece.text).join(''))).toEqual(['when: a > 1', '# b']);
  expect(lines[0]?.map((piece) => piece.kind)).toEqual(['key', 'punctuation', null, 'identifier', null, 'operator', null, 'number']);
});

test('places count as JavaScript does, and a text without tokens is there', () => {
  expect(linesOf('# 😀\nb: 1', [[0, 4, 'comment'], [5, 1, 'key']])[1]).toEqual([{ text: 'b', kind: 'key', names: null }, { text: ': 1', kind: null, names: null }]);
  expect(linesOf('a\n\nb', [])).toEqual([[{ text: 'a', kind: null, names: null }], [], [{ text: 'b', kind: null, names: null }]]);
});

test('the values of trigger and action name a definition, also in a list', () => {
  const text = 'trigger: bill.invoice\nsteps:\n  - action: "core.echo"\nmessage: no.ref\ntriggers: [a.b]';
  const token = (part: string, kind: TextToken[2]): TextToken => [text.indexOf(part), part.length, kind];
  const tokens = [
    token('trigger', 'key'), token('bill.invoice', 'string'), token('steps', 'key'), token('action', 'key'), token('"core.echo"', 'string'),
    token('message', 'key'), token('no.ref', 'string'), token('triggers', 'key'), token('a.b', 'string'),
  ];
  const named = linesOf(text, tokens).flat().flatMap((piece) => (piece.names ? [piece.names] : []));
  expect(named).toEqual([{ ref: 'bill.invoice', kind: 'trigger' }, { ref: 'core.echo', kind: 'action' }, { ref: 'a.b', kind: 'trigger' }]);
});

test('the address of a file keeps its folders', () => {
  expect(fileAddress('shop', 'rules/a b#.yaml')).toBe('/packs/shop/files/rules/a%20b%23.yaml');
});

test('a change is a patch with the lines around it', () => {
  const before = ['1', '2', '3', '4', '5', '6', '7', '8', '9', ''].join('\n');
  const after = ['1', '2', '3', '4', 'five', '6', '7', '8', '9', ''].join('\n');
  expect(patchOf('a.yaml', before, after)).toBe('--- a/a.yaml\n+++ b/a.yaml\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n');
  expect(patchOf('a.yaml', before, before)).toBe('');
});

test('changes far from each other are parts of their own, and near ones are one', () => {
  const lines = Array.from({ length: 30 }, (_, at) => String(at));
  const text = (change: Record<number, string>): string => `${lines.map((line, at) => change[at] ?? line).join('\n')}\n`;
  expect(patchOf('a', text({}), text({ 2: 'x', 25: 'y' })).match(/^@@.*@@$/gm)).toEqual(['@@ -1,6 +1,6 @@', '@@ -23,7 +23,7 @@']);
  expect(patchOf('a', text({}), text({ 10: 'x', 14: 'y' })).match(/^@@.*@@$/gm)).toEqual(['@@ -8,11 +8,11 @@']);
});

test('a patch says where a last line has no end, and of an empty file', () => {
  expect(patchOf('a', 'x\n', 'x')).toBe('--- a/a\n+++ b/a\n@@ -1,1 +1,1 @@\n-x\n+x\n\\ No newline at end of file\n');
  expect(patchOf('a', '', 'x\n')).toBe('--- a/a\n+++ b/a\n@@ -0,0 +1,1 @@\n+x\n');
});
