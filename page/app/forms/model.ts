/** From a JSON Schema to the fields of a form, and from what was typed to a value. Knows nothing of the document. */

import { words } from '../words/en.ts';

export type Kind = 'boolean' | 'choice' | 'text' | 'long_text' | 'number' | 'whole' | 'time' | 'lines' | 'group' | 'json';

export interface Field {
  /** The place in the value, as a JSON Pointer; empty for the value itself. */
  pointer: string;
  name: string;
  title: string;
  description: string;
  kind: Kind;
  isRequired: boolean;
  choices: readonly unknown[];
  fields: readonly Field[];
  maxLength: number | undefined;
  schema: Schema;
}

export type Schema = Record<string, unknown>;

/** What was typed, by pointer. A field that nobody touched is not in it. */
export type Draft = Record<string, string | boolean>;

export interface FieldError {
  pointer: string;
  message: string;
}

/** From this length on a text has several lines. */
const LONG_TEXT_CHARS = 200;
const MISSING: unique symbol = Symbol('missing');

function isSchema(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Returns the schema without `null`, which leaving a field empty means. */
function withoutNull(schema: Schema): Schema {
  const any = schema.anyOf ?? schema.oneOf;
  if (Array.isArray(any)) {
    const others = any.filter((part) => !isSchema(part) || part.type !== 'null');
    const [only] = others;
    if (others.length === 1 && isSchema(only)) return { ...schema, anyOf: undefined, oneOf: undefined, ...only };
  }
  if (Array.isArray(schema.type)) {
    const others = schema.type.filter((type) => type !== 'null');
    if (others.length === 1) return { ...schema, type: others[0] as unknown };
  }
  return schema;
}

function kindOf(schema: Schema, depth: number): Kind {
  if (Array.isArray(schema.enum)) return 'choice';
  switch (schema.type) {
    case 'boolean':
      return 'boolean';
    case 'integer':
      return 'whole';
    case 'number':
      return 'number';
    case 'string':
      if (schema.format === 'date-time') return 'time';
      return typeof schema.maxLength === 'number' && schema.maxLength > LONG_TEXT_CHARS ? 'long_text' : 'text';
    case 'array':
      return isSchema(schema.items) && ['string', 'integer', 'number'].includes(String(schema.items.type)) && !schema.items.enum ? 'lines' : 'json';
    case 'object':
      return depth < 2 && isSchema(schema.properties) && Object.keys(schema.properties).length > 0 ? 'group' : 'json';
    default:
      return 'json';
  }
}

function escaped(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1');
}

/** Returns the field of a schema. */
export function fieldOf(given: unknown, name = '', pointer = '', isRequired = true, depth = 0): Field {
  const schema = withoutNull(isSchema(given) ? given : {});
  const kind = kindOf(schema, depth);
  return {
    pointer,
    name,
    title: typeof schema.title === 'string' ? schema.title : name,
    description: typeof schema.description === 'string' ? schema.description : '',
    kind,
    isRequired,
    choices: Array.isArray(schema.enum) ? schema.enum : [],
    fields: kind === 'group' ? fieldsOf(schema, pointer, depth) : [],
    maxLength: typeof schema.maxLength === 'number' ? schema.maxLength : undefined,
    schema,
  };
}

/** Returns the fields of an object in the order of the author's file. */
function fieldsOf(schema: Schema, pointer: string, depth: number): Field[] {
  const properties = Object.entries(isSchema(schema.properties) ? schema.properties : {});
  const required = Array.isArray(schema.required) ? schema.required : [];
  const order = Array.isArray(schema['x-order']) ? schema['x-order'] : [];
  const place = (name: string): number => (order.includes(name) ? order.indexOf(name) : order.length);
  return properties
    .sort(([one], [other]) => place(one) - place(other))
    .map(([name, property]) => fieldOf(property, name, `${pointer}/${escaped(name)}`, required.includes(name), depth + 1));
}

/** Returns the value of a form, or what is wrong with it. */
export function valueOf(field: Field, draft: Draft): { value: unknown; errors: FieldError[] } {
  const errors: FieldError[] = [];
  const value = read(field, draft, errors);
  if (value === MISSING && field.kind !== 'group') {
    if (field.isRequired && errors.length === 0) errors.push({ pointer: field.pointer, message: words.form.required });
    return { value: undefined, errors };
  }
  return { value: value === MISSING ? {} : value, errors };
}

function read(field: Field, draft: Draft, errors: FieldError[]): unknown {
  if (field.kind === 'group') {
    // A group that nobody needs and nobody touched is left out, whatever its own fields require.
    const isTouched = Object.entries(draft).some(([pointer, typed]) => pointer.startsWith(`${field.pointer}/`) && typed !== '');
    if (!field.isRequired && !isTouched) return MISSING;
    // Without a prototype, so that a field called `__proto__` is a field.
    const group: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
    for (const part of field.fields) {
      const known = errors.length;
      const value = read(part, draft, errors);
      if (value !== MISSING) group[part.name] = value;
      else if (part.isRequired && errors.length === known) errors.push({ pointer: part.pointer, message: words.form.required });
    }
    return group;
  }
  const typed = draft[field.pointer];
  if (typed === undefined) return MISSING;
  if (typeof typed === 'boolean') return typed;
  const wrong = (message: string): unknown => {
    errors.push({ pointer: field.pointer, message });
    return MISSING;
  };
  switch (field.kind) {
    case 'choice':
      return typed === '' ? MISSING : field.choices[Number(typed)];
    case 'text':
    case 'long_text':
      return typed === '' && !field.isRequired ? MISSING : typed;
    case 'number':
    case 'whole':
      return numberOf(typed, field.kind, wrong);
    case 'time': {
      if (typed === '') return MISSING;
      const time = Date.parse(typed);
      return Number.isNaN(time) ? wrong(words.form.notTime) : new Date(time).toISOString();
    }
    case 'lines':
      return linesOf(field, typed, wrong);
    case 'json':
      if (typed.trim() === '') return MISSING;
      try {
        return JSON.parse(typed) as unknown;
      } catch (error) {
        return wrong(words.form.notJson(error instanceof Error ? error.message : ''));
      }
    default:
      return MISSING;
  }
}

function numberOf(typed: string, kind: 'number' | 'whole', wrong: (message: string) => unknown): unknown {
  if (typed.trim() === '') return MISSING;
  const value = Number(typed);
  if (!Number.isFinite(value)) return wrong(words.form.notNumber);
  return kind === 'whole' && !Number.isInteger(value) ? wrong(words.form.notWhole) : value;
}

function linesOf(field: Field, typed: string, wrong: (message: string) => unknown): unknown {
  const lines = typed.split('\n').map((line) => line.trim()).filter((line) => line !== '');
  if (lines.length === 0 && !field.isRequired) return MISSING;
  const type = isSchema(field.schema.items) ? field.schema.items.type : 'string';
  if (type === 'string') return lines;
  const values = lines.map((line) => numberOf(line, type === 'integer' ? 'whole' : 'number', wrong));
  return values.includes(MISSING) ? MISSING : values;
}

/** Returns the error to show at a field: also the node's, whose pointers begin at the body or at the value. */
export function errorAt(errors: readonly FieldError[], pointer: string): string | undefined {
  return errors.find((error) => error.pointer === pointer)?.message;
}
