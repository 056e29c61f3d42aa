/** The language that the reader chose, and how it writes numbers and dates. */

export const LANGUAGES = ['en', 'de'] as const;
export type Language = (typeof LANGUAGES)[number];
/** A language, or the made-up one that shows which texts do not fit. */
export type Locale = Language | 'pseudo';

class Speaking {
  /** What is shown now. Its texts are loaded. */
  locale: Locale = $state('en');

  /** For `Intl`, and for the document. */
  get language(): Language {
    return this.locale === 'pseudo' ? 'en' : this.locale;
  }
}

export const speaking = new Speaking();

/** Returns the first language of the browser that the page knows. */
export function languageOf(wanted: readonly string[]): Language {
  for (const tag of wanted) {
    const known = LANGUAGES.find((language) => tag.toLowerCase().split('-')[0] === language);
    if (known) return known;
  }
  return 'en';
}

/** Makes a function that is built once for each language. */
function each<T>(make: (language: Language) => T): () => T {
  const made = new Map<Language, T>();
  return () => {
    const { language } = speaking;
    const known = made.get(language) ?? make(language);
    made.set(language, known);
    return known;
  };
}

const numbers = each((language) => new Intl.NumberFormat(language));
const plurals = each((language) => new Intl.PluralRules(language));

export function number(value: number): string {
  return numbers().format(value);
}

/** Returns the form for a number: `plural(n, 'step', 'steps')`. */
export function plural(count: number, one: string, other: string): string {
  return `${number(count)} ${form(count, one, other)}`;
}

/** Returns the form for a number without the number. */
export function form(count: number, one: string, other: string): string {
  return plurals().select(count) === 'one' ? one : other;
}

/** Returns what writes a date or a time in the language. */
export function dates(options: Intl.DateTimeFormatOptions): (time: Date | number) => string {
  const formats = each((language) => new Intl.DateTimeFormat(language, options));
  return (time) => formats().format(time);
}
