/** From a value to what a form shows of it, such as the parameters of an address or of a template. */

import { Exact, writeJson } from '../api/json.ts';
import type { Draft, Field } from './model.ts';

/** Returns the draft of a value. What a field cannot show is left out. */
export function draftFrom(field: Field, value: unknown): Draft {
  const draft: Draft = {};
  fill(field, value, draft);
  return draft;
}

function fill(field: Field, value: unknown, draft: Draft): void {
  if (value === undefined || value === null) return;
  if (field.kind === 'group') {
    if (typeof value !== 'object' || Array.isArray(value)) return;
    for (const part of field.fields) {
      if (Object.hasOwn(value, part.name)) fill(part, (value as Record<string, unknown>)[part.name], draft);
    }
    return;
  }
  const shown = shownAs(field, value);
  if (shown !== undefined) draft[field.pointer] = shown;
}

function shownAs(field: Field, value: unknown): string | boolean | undefined {
  switch (field.kind) {
    case 'boolean':
      return typeof value === 'boolean' ? value : undefined;
    case 'choice': {
      const at = field.choices.findIndex((choice) => writeJson(choice) === writeJson(value));
      return at < 0 ? undefined : String(at);
    }
    case 'number':
    case 'whole':
      return typeof value === 'number' ? String(value) : value instanceof Exact ? value.source : undefined;
    case 'lines':
      return Array.isArray(value) ? value.map(String).join('\n') : undefined;
    case 'time':
      return typeof value === 'string' && !Number.isNaN(Date.parse(value)) ? localTime(new Date(value)) : undefined;
    case 'json':
      return writeJson(value);
    default:
      return typeof value === 'string' ? value : undefined;
  }
}

/** Writes a time as fields for a date and time take it: in the reader's zone. */
export function localTime(time: Date): string {
  const local = new Date(time.getTime() - time.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 19);
}
