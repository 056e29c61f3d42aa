/** A condition and its values: which parts it has, which fields they read, and which of them would flip it. */

import type { ConditionFlip, ConditionPart, ConditionTree, Verdict } from '../api/types.ts';

const PAYLOAD = 'event.payload';

/** What a part is written after and before: `&& (` and `)`. Spans are in bytes of the whole condition. */
export interface Placed {
  part: ConditionTree;
  lead: string;
  tail: string;
}

/** Returns the parts below a composed part, each with the text around it, so that together they are its source. */
export function placed(parent: ConditionTree, whole: string): Placed[] {
  const bytes = new TextEncoder().encode(whole);
  const between = (start: number, end: number): string => new TextDecoder().decode(bytes.subarray(start, Math.max(start, end))).trim();
  let at = parent.span.start;
  return parent.parts.map((part, index) => {
    const lead = between(at, part.span.start);
    at = Math.max(at, part.span.end);
    const isLast = index === parent.parts.length - 1;
    return { part, lead, tail: isLast ? between(at, parent.span.end) : '' };
  });
}

/** Whether the parts below it say why it has its outcome. */
export function isComposed(part: ConditionTree): boolean {
  return part.shape !== 'whole' && part.parts.length > 0;
}

/** Returns the path of a field in the payload (`items.0`), or null if something else is read. */
export function fieldOf(path: string): string | null {
  if (path === PAYLOAD) return '';
  return path.startsWith(`${PAYLOAD}.`) ? path.slice(PAYLOAD.length + 1) : null;
}

/** Returns the fields that a part reads, those of the parts below it included. */
export function fieldsRead(part: ConditionTree): string[] {
  const fields = new Set<string>();
  const visit = (one: ConditionTree): void => {
    for (const reading of one.readings) {
      const field = fieldOf(reading.path);
      if (field !== null) fields.add(field);
    }
    for (const below of one.parts) visit(below);
    for (const element of one.elements?.decided ?? []) visit(element.part);
  };
  visit(part);
  return [...fields];
}

/** Returns the part of a tree at the place of another. */
export function partAt(tree: ConditionTree, wanted: ConditionPart): ConditionTree | null {
  if (tree.span.start === wanted.span.start && tree.span.end === wanted.span.end) return tree;
  for (const below of [...tree.parts, ...(tree.elements?.decided ?? []).map((element) => element.part)]) {
    const found = partAt(below, wanted);
    if (found) return found;
  }
  return null;
}

export function isAt(part: ConditionTree, parts: readonly ConditionPart[] | null): boolean {
  return parts?.some((one) => one.span.start === part.span.start && one.span.end === part.span.end) ?? false;
}

type Judged = Pick<Verdict, 'verdict' | 'explanation' | 'flips'>;

/** Returns the ways to another verdict, the shortest first. */
export function waysOf(judged: Judged): ConditionFlip[] {
  return (judged.flips ?? []).filter((flip) => flip.to !== (judged.verdict === 'matched'));
}

/** Returns the fields whose values would have to change on the shortest way to another verdict. */
export function flippingFields(judged: Judged): string[] {
  const tree = judged.explanation;
  const [first] = waysOf(judged);
  if (!tree || !first) return [];
  const fields = first.turns.flatMap((turn) => {
    const part = partAt(tree, turn.part);
    return part ? fieldsRead(part) : [];
  });
  return [...new Set(fields)];
}
