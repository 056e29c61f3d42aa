/** What the sources of the page never have. */

import { readFileSync, readdirSync } from 'node:fs';
import { parse } from 'svelte/compiler';
import { expect, test } from 'vitest';

const HERE = new URL('.', import.meta.url).pathname;
const files = readdirSync(HERE, { recursive: true, encoding: 'utf8' })
  .filter((name) => /\.(ts|svelte|css)$/.test(name) && !name.endsWith('.test.ts') && name !== 'api/types.ts')
  .map((name) => ({ name, text: readFileSync(HERE + name, 'utf8') }));

test('no source writes HTML, runs text, or leads to a new window', () => {
  const banned = [/\{@html/, /innerHTML|outerHTML|insertAdjacentHTML|document\.write/, /\beval\(|new Function/, /\sstyle="/, /target="?_blank/];
  const found = files.flatMap(({ name, text }) => banned.filter((pattern) => pattern.test(text)).map((pattern) => `${name}: ${pattern}`));
  expect(found).toEqual([]);
});

test('only one file stores anything in the browser, and one touches history', () => {
  const using = (pattern: RegExp): string[] => files.filter(({ text }) => pattern.test(text)).map(({ name }) => name);
  expect(using(/localStorage|sessionStorage|indexedDB|document\.cookie/)).toEqual(['prefs.ts']);
  expect(using(/history\.(push|replace)State/)).toEqual(['router.svelte.ts']);
});

test('no source has an icon that is a letter, because a font may lack it', () => {
  const found = files.flatMap(({ name, text }) => [...text.replace(/[\u0020-\u007e→−×°]/g, '').matchAll(/[\p{S}\p{Co}]/gu)].map(([letter]) => `${name}: ${letter}`));
  expect(found).toEqual([]);
});

interface Part {
  type?: string;
  data?: string;
  start?: number;
}

/** Returns the texts that a template has itself. */
function texts(part: unknown, found: string[] = []): string[] {
  if (Array.isArray(part)) for (const one of part) texts(one, found);
  else if (typeof part === 'object' && part !== null) {
    const { type, data } = part as Part;
    if (type === 'StyleDirective') return found;
    if (type === 'Text' && data && /\p{L}/u.test(data)) found.push(data.trim());
    // Attributes that readers see or hear are texts; others are not.
    if (type === 'Attribute') {
      const { name, value } = part as { name: string; value: unknown };
      if (['title', 'placeholder', 'aria-label', 'alt'].includes(name)) texts(value, found);
      return found;
    }
    for (const [key, value] of Object.entries(part)) if (key !== 'css' && key !== 'instance' && key !== 'module') texts(value, found);
  }
  return found;
}

// It parses every template, which takes a while on a busy machine.
test('every text of a template is in the words', () => {
  const found = files
    .filter(({ name }) => name.endsWith('.svelte'))
    .flatMap(({ name, text }) => texts(parse(text, { modern: true }).fragment).map((one) => `${name}: ${one}`));
  expect(found).toEqual([]);
}, 60_000);

/** A page that grows beyond this needs a reason. Types are written by a test of the API, and do not count. */
const LINES_MAX = 20_500;
/** Packages beside those of the editor. */
const PACKAGES_MAX = 10;

test('the page has not grown without a reason, and depends on few packages', () => {
  const lines = files.reduce((sum, { text }) => sum + text.split('\n').length - 1, 0);
  expect(lines).toBeGreaterThan(0);
  expect(lines).toBeLessThanOrEqual(LINES_MAX);
  const { dependencies, devDependencies } = JSON.parse(readFileSync(`${HERE}../package.json`, 'utf8')) as Record<string, Record<string, string>>;
  const named = Object.keys({ ...dependencies, ...devDependencies }).filter((name) => !/^@?(codemirror|lezer)\b/.test(name));
  expect(named).toContain('svelte');
  expect(named.length, named.join(', ')).toBeLessThanOrEqual(PACKAGES_MAX);
});
