/** A change of a file as a unified patch, which `git apply` and `patch` take. */

type Edit = { kind: ' ' | '-' | '+'; line: string };

/** Lines around a change. */
const CONTEXT = 3;
/** More than this many pairs of lines are not compared one by one. */
const PAIRS_MAX = 4_000_000;

/** Returns the patch from one text to another, or '' if they are the same. */
export function patchOf(path: string, before: string, after: string): string {
  if (before === after) return '';
  const edits = editsOf(linesOf(before), linesOf(after));
  const hunks = hunksOf(edits);
  return [`--- a/${path}`, `+++ b/${path}`, ...hunks].join('\n') + '\n';
}

const NO_NEWLINE = '\n\\ No newline at end of file';

/** A last line without its end differs from one with it. */
function linesOf(text: string): string[] {
  const lines = text.split('\n');
  const last = lines.pop() ?? '';
  return last === '' ? lines : [...lines, `${last}${NO_NEWLINE}`];
}

function editsOf(before: string[], after: string[]): Edit[] {
  let start = 0;
  while (start < before.length && start < after.length && before[start] === after[start]) start += 1;
  let end = 0;
  while (end < before.length - start && end < after.length - start && before.at(-1 - end) === after.at(-1 - end)) end += 1;
  const same = (lines: string[]): Edit[] => lines.map((line) => ({ kind: ' ', line }));
  const middle = changed(before.slice(start, before.length - end), after.slice(start, after.length - end));
  return [...same(before.slice(0, start)), ...middle, ...same(before.slice(before.length - end))];
}

/** The longest lines in common stay; the others are removed and added. */
function changed(before: string[], after: string[]): Edit[] {
  const all = (kind: '-' | '+', lines: string[]): Edit[] => lines.map((line) => ({ kind, line }));
  if (before.length * after.length > PAIRS_MAX) return [...all('-', before), ...all('+', after)];
  const width = after.length + 1;
  const common = new Uint32Array((before.length + 1) * width);
  for (let one = before.length - 1; one >= 0; one -= 1) {
    for (let other = after.length - 1; other >= 0; other -= 1) {
      common[one * width + other] =
        before[one] === after[other] ? (common[(one + 1) * width + other + 1] ?? 0) + 1 : Math.max(common[(one + 1) * width + other] ?? 0, common[one * width + other + 1] ?? 0);
    }
  }
  const edits: Edit[] = [];
  let one = 0;
  let other = 0;
  while (one < before.length && other < after.length) {
    const line = before[one] ?? '';
    if (line === after[other]) {
      edits.push({ kind: ' ', line });
      one += 1;
      other += 1;
    } else if ((common[(one + 1) * width + other] ?? 0) >= (common[one * width + other + 1] ?? 0)) {
      edits.push({ kind: '-', line });
      one += 1;
    } else {
      edits.push({ kind: '+', line: after[other] ?? '' });
      other += 1;
    }
  }
  return [...edits, ...all('-', before.slice(one)), ...all('+', after.slice(other))];
}

function hunksOf(edits: Edit[]): string[] {
  const changes = edits.flatMap((edit, at) => (edit.kind === ' ' ? [] : [at]));
  const ranges: { from: number; to: number }[] = [];
  for (const at of changes) {
    const last = ranges.at(-1);
    if (last && at - CONTEXT <= last.to) last.to = Math.min(edits.length, at + CONTEXT + 1);
    else ranges.push({ from: Math.max(0, at - CONTEXT), to: Math.min(edits.length, at + CONTEXT + 1) });
  }
  return ranges.map(({ from, to }) => {
    const count = (upTo: number, start: number, kind: '-' | '+'): number => edits.slice(start, upTo).filter((edit) => edit.kind !== (kind === '-' ? '+' : '-')).length;
    const place = (kind: '-' | '+'): string => {
      const lines = count(to, from, kind);
      // A side without lines names the line before it.
      return `${kind}${count(from, 0, kind) + (lines === 0 ? 0 : 1)},${lines}`;
    };
    const lines = edits.slice(from, to).map((edit) => `${edit.kind}${edit.line}`);
    return [`@@ ${place('-')} ${place('+')} @@`, ...lines].join('\n');
  });
}
