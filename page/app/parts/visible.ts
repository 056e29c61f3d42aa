/** Texts from outside, with what cannot be seen made visible. */

/** Marks that change the direction of a text, or have no width. */
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]/g;
/** More marks than this on one letter reach over other lines. */
const MARKS = /(\p{M}{4})\p{M}+/gu;

export function visible(text: string): string {
  return text
    .replace(HIDDEN, (character) => {
      const code = character.codePointAt(0) ?? 0;
      if (code < 0x20) return String.fromCodePoint(0x2400 + code);
      return `⟨U+${code.toString(16).toUpperCase().padStart(4, '0')}⟩`;
    })
    .replace(MARKS, '$1⟨…⟩');
}

/** Splits a message of the node at its backticks, which are around code. One without another stays as it is. */
export function piecesOf(message: string): { text: string; isCode: boolean }[] {
  const pieces = message.split(/`([^`\n]+)`/).map((text, at) => ({ text, isCode: at % 2 === 1 }));
  return pieces.filter(({ text }) => text !== '');
}

/** Shortens a text; `whole` says what was left out. */
export function shortened(text: string, chars: number): { text: string; left: number } {
  return text.length <= chars ? { text, left: 0 } : { text: text.slice(0, chars), left: text.length - chars };
}
