/** From a value to what a form says of it, and back to what was changed of it. */

import { Exact, writeJson } from '../../api/json.ts';
import { valueOf, type Draft, type Field, type FieldError } from '../../forms/model.ts';

/** Returns the draft that a form of a value begins with. */
export function draftFrom(field: Field, value: unknown, draft: Draft = {}): Draft {
  if (value === undefined || value === null) return draft;
  switch (field.kind) {
    case 'group':
      for (const part of field.fields) draftFrom(part, (value as Record<string, unknown>)[part.name], draft);
      break;
    case 'boolean':
      if (typeof value === 'boolean') draft[field.pointer] = value;
      break;
    case 'choice': {
      const at = field.choices.findIndex((choice) => writeJson(choice) === writeJson(value));
      if (at >= 0) draft[field.pointer] = String(at);
      break;
    }
    case 'number':
    case 'whole':
      draft[field.pointer] = value instanceof Exact ? value.source : String(value);
      break;
    case 'time':
      draft[field.pointer] = localTime(String(value));
      break;
    case 'lines':
      draft[field.pointer] = Array.isArray(value) ? value.map(String).join('\n') : '';
      break;
    case 'json':
      draft[field.pointer] = writeJson(value);
      break;
    default:
      draft[field.pointer] = String(value);
  }
  return draft;
}

/** Writes a time as a field for a time has it: in the zone of the reader. */
function localTime(text: string): string {
  const time = Date.parse(text);
  if (Number.isNaN(time)) return '';
  const local = new Date(time - new Date(time).getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 19);
}

/** Returns the fields of the outermost object whose text differs from what the form began with, with their values. */
export function changesOf(field: Field, began: Draft, draft: Draft): { values: Record<string, unknown>; errors: FieldError[] } {
  const { value, errors } = valueOf(field, draft);
  if (field.kind !== 'group') {
    const isSame = began[field.pointer] === draft[field.pointer];
    return { values: isSame ? {} : { ...(value as object) }, errors: isSame ? [] : errors };
  }
  const isOf = (part: Field, pointer: string): boolean => pointer === part.pointer || pointer.startsWith(`${part.pointer}/`);
  const pointers = [...new Set([...Object.keys(began), ...Object.keys(draft)])];
  const changed = field.fields.filter((part) => pointers.some((pointer) => isOf(part, pointer) && (began[pointer] ?? '') !== (draft[pointer] ?? '')));
  const given = value as Record<string, unknown>;
  const values: [string, unknown][] = changed.filter((part) => Object.hasOwn(given, part.name)).map((part) => [part.name, given[part.name]]);
  return { values: Object.fromEntries(values), errors: errors.filter((error) => changed.some((part) => isOf(part, error.pointer))) };
}
