/** Commands of the command line, as one would type them into a shell. */

/** Quotes a word for a POSIX shell, if it needs it. */
export function quoted(word: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** Writes a command. Words that are not given are left out. */
export function commandOf(...words: (string | null | undefined)[]): string {
  return ['ensue', ...words.filter((word): word is string => word !== null && word !== undefined).map(quoted)].join(' ');
}

/** Returns an option with its value; an empty list if there is no value. */
export function option(name: string, value: string | null | undefined): string[] {
  return value ? [`--${name}`, value] : [];
}
