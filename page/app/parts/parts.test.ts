import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { words } from '../words/en.ts';
import { lookOf, wordOf } from './state.ts';
import { duration, relative } from './time.ts';
import { piecesOf, shortened, visible } from './visible.ts';
import { rowsShown } from './window.ts';

test('hidden characters become visible', () => {
  expect(visible('a\u202Eb\u200Bc\u0007')).toBe('a⟨U+202E⟩b⟨U+200B⟩c␇');
  expect(visible('plain\ttext\nof two lines, größer, 漢字')).toBe('plain\ttext\nof two lines, größer, 漢字');
  expect(visible(`e${'\u0301'.repeat(200)}`)).toBe(`e${'\u0301'.repeat(4)}⟨…⟩`);
});

test('a text is shortened, and says by how much', () => {
  expect(shortened('abcdef', 4)).toEqual({ text: 'abcd', left: 2 });
  expect(shortened('abc', 4)).toEqual({ text: 'abc', left: 0 });
});

test('code in a message is between backticks, and a single backtick is a letter', () => {
  const shown = (message: string): string => piecesOf(message).map(({ text, isCode }) => (isCode ? `<${text}>` : text)).join('');
  expect(shown('set `a.b` with `ensue keys set a.b`')).toBe('set <a.b> with <ensue keys set a.b>');
  expect(shown('`whole`')).toBe('<whole>');
  for (const plain of ['', 'nothing', 'one ` alone', '``', 'over `two\nlines`']) expect(shown(plain)).toBe(plain);
});

test('durations have two units at most', () => {
  const shown: [number, string][] = [[0.0025, '2.5 ms'], [0.453, '453 ms'], [4.2, '4.2 s'], [75, '1 min 15 s'], [7_380, '2 h 03 min'], [90_000, '1 d 01 h'], [3_600, '1 h']];
  for (const [seconds, text] of shown) expect(duration(seconds)).toBe(text);
});

test('times are relative to now, before and after', () => {
  expect(relative(0, 65_000)).toBe('1 min 05 s ago');
  expect(relative(7_200_000, 0)).toBe('in 2 h');
  expect(relative(500, 0)).toBe('now');
});

test('only rows near the screen are shown, and the others leave their height', () => {
  expect(rowsShown(1_000_000, 36, 360_000, 720)).toEqual({ from: 9_990, to: 10_030, before: 359_640, after: (1_000_000 - 10_030) * 36 });
  expect(rowsShown(3, 36, 0, 720)).toEqual({ from: 0, to: 3, before: 0, after: 0 });
  expect(rowsShown(0, 36, 500, 720)).toEqual({ from: 0, to: 0, before: 0, after: 0 });
});

test('every state has a shape and a word, and an unknown one has its own name', () => {
  for (const state of Object.keys(words.state)) {
    expect(lookOf(state).shape, state).not.toBe('dot');
    expect(wordOf(state)).toBe(words.state[state as keyof typeof words.state]);
  }
  expect(lookOf('__proto__').shape).toBe('dot');
  expect(wordOf('brand_new')).toBe('brand_new');
});

/** The relative luminance of a colour (WCAG 2). */
function luminance(hex: string): number {
  const channels = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255).map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
  return 0.2126 * (channels[0] ?? 0) + 0.7152 * (channels[1] ?? 0) + 0.0722 * (channels[2] ?? 0);
}

test('text and shapes have enough contrast in both themes', () => {
  const css = readFileSync(new URL('../tokens.css', import.meta.url), 'utf8');
  const tokens = new Map([...css.matchAll(/--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)/g)].map(([, name, light, dark]) => [name ?? '', [light ?? '', dark ?? '']]));
  const contrast = (one: string, other: string, theme: number): number => {
    const [high, low] = [one, other].map((name) => luminance(tokens.get(name)?.[theme] ?? '')).sort((a, b) => b - a);
    return ((high ?? 0) + 0.05) / ((low ?? 0) + 0.05);
  };
  for (const theme of [0, 1]) {
    for (const ground of ['ground', 'ground-soft', 'ground-chosen']) {
      for (const text of ['text', 'text-soft', 'link', ...[...tokens.keys()].filter((name) => name.startsWith('code-'))]) expect(contrast(text, ground, theme), `${text} on ${ground}, ${theme}`).toBeGreaterThanOrEqual(4.5);
      for (const shape of [...tokens.keys()].filter((name) => name.startsWith('state-'))) expect(contrast(shape, ground, theme), `${shape} on ${ground}, ${theme}`).toBeGreaterThanOrEqual(3);
    }
    for (const ground of ['ground', 'ground-soft']) expect(contrast('danger', ground, theme)).toBeGreaterThanOrEqual(4.5);
    expect(contrast('on-accent', 'accent', theme)).toBeGreaterThanOrEqual(4.5);
    expect(contrast('line-strong', 'ground', theme)).toBeGreaterThanOrEqual(3);
  }
});
