/** Where two JSON values differ, by JSON Pointer. */

import { Exact, writeJson } from '../../api/json.ts';

export interface ValueDifference {
  pointer: string;
  /** Undefined: there is no such value. */
  first: unknown;
  second: unknown;
}

type Branch = Record<string, unknown>;

function isBranch(value: unknown): value is Branch {
  return typeof value === 'object' && value !== null && !(value instanceof Exact);
}

/** Returns the innermost values that differ. */
export function differences(first: unknown, second: unknown, pointer = ''): ValueDifference[] {
  const areBranches = isBranch(first) && isBranch(second) && Array.isArray(first) === Array.isArray(second);
  if (!areBranches) {
    const isSame = first === second || (first !== undefined && second !== undefined && writeJson(first) === writeJson(second));
    return isSame ? [] : [{ pointer, first, second }];
  }
  const names = [...new Set([...Object.keys(first), ...Object.keys(second)])];
  const of = (branch: Branch, name: string): unknown => (Object.hasOwn(branch, name) ? branch[name] : undefined);
  return names.flatMap((name) => differences(of(first, name), of(second, name), `${pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`));
}
