/** Chooses the words of the reader's language. Each screen has its own words; `words/en.ts` has those that screens share. */

import { readPrefs } from '../prefs.ts';

type Say = string | ((...given: never[]) => string);
export type Words = { [name: string]: Say | Words };

const ACCENTS: Record<string, string> = { a: 'á', e: 'é', i: 'í', o: 'ö', u: 'ü', n: 'ñ', s: 'š', c: 'ç', A: 'Å', E: 'Ë', I: 'Î', O: 'Ø', U: 'Ü' };

/** Makes a text longer and strange, which shows texts that do not fit and texts that are not in the words. */
export function pseudo(text: string): string {
  const strange = text.replace(/[a-zA-Z]/g, (letter) => ACCENTS[letter] ?? letter);
  return `⟦${strange}${'~'.repeat(Math.ceil(text.length * 0.4))}⟧`;
}

function pseudoOf(words: Words): Words {
  const entries = Object.entries(words).map(([name, say]): [string, Say | Words] => {
    if (typeof say === 'string') return [name, pseudo(say)];
    if (typeof say === 'function') return [name, (...given: never[]) => pseudo(say(...given))];
    return [name, pseudoOf(say)];
  });
  return Object.fromEntries(entries);
}

/** Returns the words in the reader's language. */
export function localized<T extends Words>(en: T): T {
  return readPrefs().locale === 'pseudo' ? (pseudoOf(en) as T) : en;
}

const plurals = new Intl.PluralRules('en');

/** Returns the form for a number: `plural(n, 'step', 'steps')`. */
export function plural(count: number, one: string, other: string): string {
  return `${number(count)} ${plurals.select(count) === 'one' ? one : other}`;
}

const numbers = new Intl.NumberFormat('en');

export function number(value: number): string {
  return numbers.format(value);
}
