/** What the reader chose for this browser. The only file that stores anything in it: never a secret, never data. */

import { languageOf, type Locale } from './words/language.svelte.ts';

export type Theme = 'system' | 'light' | 'dark';
export type Density = 'normal' | 'dense';

export interface Prefs {
  theme: Theme;
  density: Density;
  /** The language of the page, or that of the browser. */
  locale: Locale | 'browser';
  /** Whether single letters are shortcuts. */
  letters: boolean;
  /** Whether times are shown in full instead of relative to now. */
  absoluteTimes: boolean;
}

const NAME = 'ensue.prefs';
const DEFAULTS: Prefs = { theme: 'system', density: 'normal', locale: 'browser', letters: true, absoluteTimes: false };

function stored(): Partial<Prefs> {
  try {
    const value: unknown = JSON.parse(globalThis.localStorage?.getItem(NAME) ?? '{}');
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}

export function readPrefs(): Prefs {
  return { ...DEFAULTS, ...stored() };
}

export function writePrefs(change: Partial<Prefs>): Prefs {
  const prefs = { ...readPrefs(), ...change };
  try {
    globalThis.localStorage?.setItem(NAME, JSON.stringify(prefs));
  } catch {
    // A browser that stores nothing forgets the choice at the end of the visit.
  }
  return prefs;
}

/** Returns the language that the reader wants. */
export function localeOf(prefs: Prefs): Locale {
  return prefs.locale === 'browser' ? languageOf(globalThis.navigator?.languages ?? []) : prefs.locale;
}

/** Shows the choice on the page. */
export function applyPrefs(prefs: Prefs): void {
  const root = document.documentElement;
  root.dataset.theme = prefs.theme;
  root.dataset.density = prefs.density;
}
