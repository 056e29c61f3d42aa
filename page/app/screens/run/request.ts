/** From what was typed to the request that runs an action, and to the command that does the same. */

import { writeJson } from '../../api/json.ts';
import type { Execute } from '../../api/types.ts';
import { valueOf, type Draft, type Field, type FieldError } from '../../forms/model.ts';
import { commandOf, option } from '../../parts/command.ts';
import { words } from './words.ts';

/** What was typed: the parameters, and what is around them. */
export interface Typed {
  draft: Draft;
  startAt: string;
  labels: string;
}

/** The places of the fields that are no parameters. */
export const LABELS = '#labels';
export const START_AT = '#start_at';

export function emptyTyped(): Typed {
  return { draft: {}, startAt: '', labels: '' };
}

/** Whether an action takes no parameters at all. */
export function takesNothing(field: Field): boolean {
  const { type, properties, additionalProperties } = field.schema;
  if (Object.keys(field.schema).length === 0) return true;
  return type === 'object' && !additionalProperties && Object.keys((properties as object | undefined) ?? {}).length === 0;
}

/** Returns the request, or what is wrong with what was typed. */
export function requestOf(field: Field, typed: Typed): { body: Execute; errors: FieldError[] } {
  const { value, errors } = takesNothing(field) ? { value: {}, errors: [] } : valueOf(field, typed.draft);
  const { labels, wrong } = labelsOf(typed.labels);
  if (wrong !== undefined) errors.push({ pointer: LABELS, message: words.notLabel(wrong) });
  const body: Execute = { params: value };
  if (Object.keys(labels).length > 0) body.labels = labels;
  if (typed.startAt !== '') body.start_at = new Date(typed.startAt).toISOString();
  return { body, errors };
}

/** Reads labels, one in each line. `wrong` is the first line that is not a label. */
export function labelsOf(text: string): { labels: Record<string, string>; wrong?: string } {
  const labels: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const line of text.split('\n').map((one) => one.trim())) {
    if (line === '') continue;
    const at = line.indexOf('=');
    if (at < 1) return { labels, wrong: line };
    labels[line.slice(0, at).trim()] = line.slice(at + 1).trim();
  }
  return { labels };
}

/** Returns the command that runs an action with the same parameters. */
export function runCommand(action: string, field: Field, body: Execute): string {
  const params = Object.entries((body.params ?? {}) as Record<string, unknown>).flatMap(([name, value]) => {
    const isText = field.fields.find((part) => part.name === name)?.schema.type === 'string';
    return ['--param', isText && typeof value === 'string' ? `${name}=${value}` : `${name}:=${writeJson(value).replace(/\n\s*/g, '')}`];
  });
  const labels = Object.entries(body.labels ?? {}).flatMap(([name, value]) => ['--label', `${name}=${value}`]);
  return commandOf('run', action, ...params, ...labels, ...option('at', body.start_at));
}

/** Returns the form's pointer of an error that the node reports: it begins at the parameters, or at the body. */
export function pointerOf(pointer: string): string {
  if (pointer === '/start_at') return START_AT;
  if (pointer.startsWith('/labels')) return LABELS;
  return pointer.replace(/^\/params(?=\/|$)/, '');
}
