import { expect, test } from 'vitest';
import type { PackFinding } from '../api/types.ts';
import { patchOf } from './diff.ts';
import { byLine, candidates, fileAddress, findingsOf, lineOfRule } from './files.ts';

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

test('the file of a rule is the one of its name, or one that lists it', () => {
  expect(candidates('shop.big', ['pack.yaml', 'rules/all.yaml', 'rules/big.yaml', 'actions/big.yaml'])).toEqual(['rules/big.yaml', 'rules/all.yaml']);
  expect(lineOfRule('shop.big', 'rules/big.yaml', 'trigger: a.b\n')).toBe(1);
  expect(lineOfRule('shop.big', 'rules/all.yaml', 'trigger: a.b\n')).toBeNull();
  expect(lineOfRule('shop.big', 'rules/all.yaml', 'rules:\n  small:\n    x: 1\n  big:\n    x: 2\n')).toBe(4);
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
