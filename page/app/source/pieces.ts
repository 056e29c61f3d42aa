/** A text as lines of pieces: the node's tokens, and what lies between them. */

import type { FileDefinitionKind, TextToken, TextTokenClass } from '../api/types.ts';

/** A definition that a file names. */
export interface Named {
  ref: string;
  kind: FileDefinitionKind;
}

export interface Piece {
  text: string;
  kind: TextTokenClass | null;
  /** What the piece names, if it is the ref of something that is defined somewhere. */
  names: Named | null;
}

/** The keys whose values are refs. */
const NAMING: Record<string, FileDefinitionKind> = { trigger: 'trigger', triggers: 'trigger', action: 'action' };
const REF = /^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$/;

/** Returns the lines of a text, each as pieces. Tokens lie in one line each, in their order. */
export function linesOf(text: string, tokens: readonly TextToken[]): Piece[][] {
  const lines: Piece[][] = [[]];
  let at = 0;
  let key = '';
  const plain = (until: number): void => {
    for (const [index, part] of text.slice(at, until).split('\n').entries()) {
      if (index > 0) lines.push([]);
      if (part !== '') lines.at(-1)?.push({ text: part, kind: null, names: null });
    }
    at = until;
  };
  for (const [start, length, kind] of tokens) {
    if (start < at) continue;
    plain(start);
    const part = text.slice(start, start + length);
    if (kind === 'key') key = part;
    const ref = part.replace(/^["']|["']$/g, '');
    const named = kind === 'string' && REF.test(ref) ? NAMING[key] : undefined;
    lines.at(-1)?.push({ text: part, kind, names: named ? { ref, kind: named } : null });
    at = start + length;
  }
  plain(text.endsWith('\n') && at < text.length ? text.length - 1 : text.length);
  return lines;
}
