/**
 * Shows words in the reader's language. Each screen has its own words, in English in `words.ts` and in German in
 * `words.de.ts` beside it; `words/en.ts` has those that screens share. German texts are loaded if German is chosen.
 */

import { form, number, plural, speaking, type Language, type Locale } from './language.svelte.ts';

export { form, number, plural };

type Say = string | ((...given: never[]) => string);
export type Words = { [name: string]: Say | Words };

/** The same words in another language: none is missing, and each is said of the same things. */
export type Translation<T> = { [K in keyof T]: T[K] extends string ? string : T[K] extends (...given: infer Given) => string ? (...given: Given) => string : Translation<T[K]> };

/** A short text in all languages, for what the first load shows. */
export type InAll = Record<Language, string>;

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

const german = import.meta.glob<{ default: Words }>('/app/**/*.de.ts');
/** The German texts that are loaded, by name. */
const loaded = new Map<string, Words>();
/** The names of all words that the page has read. */
const names: string[] = [];
/** The texts of those that were read while German was shown, and that are on their way. */
let coming: Promise<void>[] = [];

async function load(name: string): Promise<void> {
  const read = german[`/app/${name}.de.ts`];
  if (!read || loaded.has(name)) return;
  try {
    loaded.set(name, (await read()).default);
  } catch {
    // Without its German texts, a part of the page is shown in English.
  }
}

/** Makes words that are read from a translation. What it lacks is said in English. */
function translatedBy(other: () => Words | undefined, en: Words): Words {
  const shown: Words = {};
  for (const [name, text] of Object.entries(en)) {
    const said = (): Say | Words | undefined => other()?.[name];
    if (typeof text === 'object') {
      const inner = (): Words | undefined => {
        const words = said();
        return typeof words === 'object' ? words : undefined;
      };
      shown[name] = translatedBy(inner, text);
    } else {
      Object.defineProperty(shown, name, {
        enumerable: true,
        get: () => {
          const translation = said();
          return typeof translation === typeof text ? translation : text;
        },
      });
    }
  }
  return shown;
}

/**
 * Returns words that are always in the reader's language. `name` is the path of their file: the German texts are in
 * `<name>.de.ts`. Read a text where it is shown: what a constant of a module keeps stays in one language.
 */
export function localized<T extends Words>(en: T, name = ''): T {
  let strange: Words | undefined;
  const other = (): Words | undefined => {
    if (speaking.locale === 'pseudo') return (strange ??= pseudoOf(en));
    return speaking.locale === 'de' ? loaded.get(name) : undefined;
  };
  names.push(name);
  if (speaking.locale === 'de') coming.push(load(name));
  return translatedBy(other, en) as T;
}

/** Returns when the texts of all files that the page has read are there. */
export async function translated(): Promise<void> {
  const waiting = coming;
  coming = [];
  await Promise.all(waiting);
}

/** Shows all words in a language, once its texts are loaded. */
export async function speak(locale: Locale): Promise<void> {
  if (locale === 'de') await Promise.all(names.map(load));
  speaking.locale = locale;
  if (globalThis.document) document.documentElement.lang = speaking.language;
}

/** Returns a text in the reader's language. */
export function inLanguage(texts: InAll): string {
  return speaking.locale === 'pseudo' ? pseudo(texts.en) : texts[speaking.language];
}
