/** A payload as lines, each with the path of its field, so that the parts of a condition can be shown at the fields that they read. */

import { Exact, writeJson } from '../api/json.ts';
import { shortened } from '../parts/visible.ts';

export interface FieldLine {
  /** `items.0.name`; the payload itself is ''. Closing brackets have none. */
  path: string | null;
  depth: number;
  /** The name of the field with its colon, or nothing. */
  name: string;
  text: string;
  /** Whether a condition reads it, and it is not there. */
  isMissing: boolean;
}

const TEXT_MAX = 2_000;

function isBranch(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !(value instanceof Exact);
}

/** Returns the value of a field, and whether it is there. */
export function valueAt(payload: unknown, path: string): { isThere: boolean; value: unknown } {
  let value = payload;
  for (const key of path === '' ? [] : path.split('.')) {
    if (!isBranch(value) || !Object.hasOwn(value, key)) return { isThere: false, value: undefined };
    value = (value as Record<string, unknown>)[key];
  }
  return { isThere: true, value };
}

/** Returns a copy of the payload with another value at a field. Undefined removes it. */
export function withValueAt(payload: unknown, path: string, value: unknown): unknown {
  if (path === '') return value;
  const [key = '', ...rest] = path.split('.');
  const before = isBranch(payload) ? payload : {};
  const inner = rest.length === 0 ? value : withValueAt(Object.hasOwn(before, key) ? (before as Record<string, unknown>)[key] : {}, rest.join('.'), value);
  if (Array.isArray(before)) return before.map((item: unknown, at) => (String(at) === key ? inner : item));
  const entries = Object.entries(before).filter(([name]) => name !== key || inner !== undefined);
  const replaced = entries.map(([name, old]): [string, unknown] => [name, name === key ? inner : old]);
  return Object.fromEntries(inner === undefined || Object.hasOwn(before, key) ? replaced : [...replaced, [key, inner]]);
}

/** Returns a payload as lines. `left` is how many more it has. */
export function linesOf(payload: unknown, missing: readonly string[], max = 2_000): { lines: FieldLine[]; left: number } {
  const lines: FieldLine[] = [];
  let left = 0;
  const add = (line: FieldLine): void => {
    if (lines.length < max) lines.push(line);
    else left += 1;
  };
  const visit = (value: unknown, path: string, depth: number, name: string, comma: string): void => {
    if (!isBranch(value)) {
      add({ path, depth, name, text: shortened(writeJson(value), TEXT_MAX).text + comma, isMissing: false });
      return;
    }
    const [open, close] = Array.isArray(value) ? ['[', ']'] : ['{', '}'];
    const below = (key: string): string => (path === '' ? key : `${path}.${key}`);
    const entries = Object.entries(value);
    const absent = missing.filter((one) => {
      const parent = one.includes('.') ? one.slice(0, one.lastIndexOf('.')) : '';
      return one !== '' && parent === path && !Object.hasOwn(value, one.slice(parent === '' ? 0 : parent.length + 1));
    });
    if (entries.length + absent.length === 0) {
      add({ path, depth, name, text: `${open}${close}${comma}`, isMissing: false });
      return;
    }
    add({ path, depth, name, text: open, isMissing: false });
    for (const [at, [key, inner]] of entries.entries()) {
      visit(inner, below(key), depth + 1, Array.isArray(value) ? '' : `${JSON.stringify(key)}: `, at + 1 < entries.length ? ',' : '');
    }
    for (const one of absent) add({ path: one, depth: depth + 1, name: `${JSON.stringify(one.slice(path === '' ? 0 : path.length + 1))}: `, text: '', isMissing: true });
    add({ path: null, depth, name: '', text: `${close}${comma}`, isMissing: false });
  };
  visit(payload, '', 0, '', '');
  return { lines, left };
}

/** Returns the path of a field (`items.0`) from its JSON Pointer. */
export function pathOf(pointer: string): string {
  return pointer.split('/').slice(1).map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~')).join('.');
}

/** Returns a payload with what a form of its schema says. Fields that the form does not have stay. */
export function withForm(payload: unknown, made: unknown, names: readonly string[]): unknown {
  const own = (value: unknown): [string, unknown][] => (isBranch(value) && !Array.isArray(value) ? Object.entries(value) : []);
  const others = own(payload).filter(([name]) => !names.includes(name));
  return Object.fromEntries([...own(made), ...others]);
}

/** Reads what somebody wrote for a field: JSON, or a text where the field was a text. */
export function readValue(written: string, before: unknown): unknown {
  if (written === '') return typeof before === 'string' ? '' : undefined;
  if (typeof before === 'string') return written;
  try {
    return JSON.parse(written) as unknown;
  } catch {
    return written;
  }
}

/** Writes a value into a field. */
export function writeValue(value: unknown): string {
  if (value === undefined) return '';
  return typeof value === 'string' ? value : writeJson(value);
}
