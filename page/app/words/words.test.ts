/** Every text is there in both languages. */

import { readFileSync, readdirSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { absolute, duration } from '../parts/time.ts';
import { speaking, languageOf, number } from './language.svelte.ts';
import { inLanguage, localized, speak, translated, type Words } from './localized.ts';
import { words } from './en.ts';

const APP = new URL('..', import.meta.url).pathname;
const sources = readdirSync(APP, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'));
/** The files with English texts, and the names that they give them. */
const named = sources.flatMap((file) => {
  const found = /localized\(\{[\s\S]*\}(?:, '([^']*)')?\);/.exec(readFileSync(APP + file, 'utf8'));
  return found ? [{ file, name: found[1] }] : [];
});

/** Texts that are the same in German. Those that name numbers are asked with 7, 8 and 9. */
const SAME = new Set(
  ['Audit', 'Backtest', 'Browser', 'Code', 'Cursor', 'Ensue', 'Filter', 'Graph', 'JSON', 'Label', 'Labels', 'Live', 'Name', 'Normal', 'Parameter', 'Position', 'Sensor', 'Start', 'Status', 'System', 'Timer', 'Token', 'Tokens', 'URL', 'Version', 'Worker', 'Workflow', 'Apache-2.0', '1 h', '24 h', '7 d', 'in 7'].map((word) => word.toLowerCase()),
);

afterEach(() => speak('en'));

function said(text: unknown): string {
  return typeof text === 'function' ? String((text as (...given: number[]) => string)(7, 8, 9)) : String(text);
}

/** Returns what is wrong with a translation, by the name of each text. */
function faults(en: Words, de: Words | undefined, at = ''): string[] {
  const missing = Object.entries(en).flatMap(([name, text]) => {
    const path = `${at}${name}`;
    const other = de?.[name];
    if (typeof other !== typeof text) return [`${path} is missing`];
    if (typeof text === 'object') return faults(text, other as Words, `${path}.`);
    const isSame = said(text) === said(other) && !SAME.has(said(text).toLowerCase()) && /\p{L}{2}/u.test(said(text));
    return isSame ? [`${path} is not translated: ${said(text)}`] : [];
  });
  return [...missing, ...Object.keys(de ?? {}).flatMap((name) => (name in en ? [] : [`${at}${name} is not in the English words`]))];
}

describe('German texts', () => {
  test('are found, which names the files that they are for', () => {
    expect(named.length).toBeGreaterThan(30);
    const wrong = named.filter(({ file, name }) => name === undefined || (file === 'words/en.ts' ? name !== 'words/shared' : `${name}.ts` !== file));
    expect(wrong.map(({ file }) => `${file} does not name itself in localized(…)`)).toEqual([]);
  });

  test.each(named)('of $file are complete', async ({ file, name }) => {
    expect(sources).toContain(`${name}.de.ts`);
    const english = Object.values((await import(`${APP}${file}`)) as Record<string, Words>)[0];
    const german = (await import(`${APP}${name}.de.ts`)) as { default: Words };
    expect(faults(english ?? {}, german.default)).toEqual([]);
  });

  test('of titles of screens are there', async () => {
    const { screens } = await import('../screens.ts');
    const untranslated = screens.filter(({ title }) => !title.de || (title.de === title.en && !SAME.has(title.en.toLowerCase())));
    expect(untranslated.map(({ paths }) => paths[0])).toEqual([]);
  });
});

describe('a reader of German', () => {
  test('sees German, and English again', async () => {
    expect(words.close).toBe('Close');
    await speak('de');
    expect([words.close, words.key.goTo('X'), inLanguage({ en: 'Now', de: 'Jetzt' })]).toEqual(['Schließen', 'Zu „X“', 'Jetzt']);
    await speak('en');
    expect([words.close, inLanguage({ en: 'Now', de: 'Jetzt' })]).toEqual(['Close', 'Now']);
  });

  test('sees English where a text is missing', async () => {
    await speak('de');
    const unknown = localized({ greeting: 'Hello', inner: { part: 'Part' } }, 'screens/nowhere/words');
    await translated();
    expect([unknown.greeting, unknown.inner.part]).toEqual(['Hello', 'Part']);
  });

  test('sees numbers, durations and dates as they are written in German', async () => {
    await speak('de');
    expect([number(1_234.5), duration(4.2)]).toEqual(['1.234,5', '4,2 s']);
    expect(absolute(Date.parse('2026-03-01T12:00:00Z'))).toContain('01.03.2026');
    await speak('en');
    expect([number(1_234.5), duration(4.2)]).toEqual(['1,234.5', '4.2 s']);
  });
});

test('the language is the first of the browser that the page knows', () => {
  expect([['fr', 'de-AT', 'en'], ['en-GB', 'de'], ['fr'], []].map(languageOf)).toEqual(['de', 'en', 'en', 'en']);
});

test('the made-up language makes each text longer', async () => {
  await speak('pseudo');
  expect(words.close).toMatch(/^⟦.*~+⟧$/);
  expect([speaking.language, words.close.length > 'Close'.length]).toEqual(['en', true]);
});
