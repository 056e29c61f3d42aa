import { expect, test } from 'vitest';
import { fieldOf, valueOf } from './model.ts';

const ASKED = {
  type: 'object',
  properties: {
    note: { type: 'string' },
    ship: { type: 'boolean', title: 'Ship?', description: 'All of it.' },
    to: { enum: ['eu', 'us'] },
    share: { type: ['integer', 'null'] },
    tags: { type: 'array', items: { type: 'string' } },
    at: { type: 'string', format: 'date-time' },
    place: { type: 'object', properties: { row: { type: 'number' } }, required: ['row'] },
    deep: { type: 'object', properties: { a: { type: 'object', properties: { b: { type: 'object', properties: { c: { type: 'string' } } } } } } },
    any: {},
  },
  required: ['ship'],
  'x-order': ['ship', 'note'],
};

test('fields are in the order of the author, with a kind for each schema', () => {
  const field = fieldOf(ASKED);
  expect(field.fields.slice(0, 2).map((part) => part.name)).toEqual(['ship', 'note']);
  expect(Object.fromEntries(field.fields.map((part) => [part.name, part.kind]))).toEqual({
    ship: 'boolean', note: 'text', to: 'choice', share: 'whole', tags: 'lines', at: 'time', place: 'group', deep: 'group', any: 'json',
  });
  expect(field.fields[0]).toMatchObject({ title: 'Ship?', description: 'All of it.', isRequired: true, pointer: '/ship' });
  expect(field.fields.find((part) => part.name === 'deep')?.fields[0]?.kind).toBe('json');
});

test('nothing is chosen beforehand, and what is required is missed', () => {
  expect(valueOf(fieldOf(ASKED), {}).errors).toEqual([{ pointer: '/ship', message: 'This is required.' }]);
});

test('what was typed becomes a value', () => {
  const draft = { '/ship': false, '/note': '', '/to': '1', '/share': '3', '/tags': 'a\n b \n\n', '/place/row': '1.5', '/any': '{"x": [1]}' };
  expect(valueOf(fieldOf(ASKED), draft)).toEqual({
    value: { ship: false, to: 'us', share: 3, tags: ['a', 'b'], place: { row: 1.5 }, any: { x: [1] } },
    errors: [],
  });
});

test('what does not fit is named at its field', () => {
  const draft = { '/ship': true, '/share': '1.5', '/place/row': 'much', '/any': '{', '/at': 'soon' };
  const { errors } = valueOf(fieldOf(ASKED), draft);
  expect(errors.map((error) => error.pointer)).toEqual(['/any', '/at', '/place/row', '/share'].sort((a, b) => errors.findIndex((e) => e.pointer === a) - errors.findIndex((e) => e.pointer === b)));
  expect(errors.length).toBe(4);
});

test('a value other than an object has one field', () => {
  expect(valueOf(fieldOf({ type: 'boolean' }), { '': true })).toEqual({ value: true, errors: [] });
  expect(valueOf(fieldOf({ anyOf: [{ type: 'string' }, { type: 'null' }] }), { '': 'x' })).toEqual({ value: 'x', errors: [] });
  expect(fieldOf(true).kind).toBe('json');
});

test('names of fields that objects have anyway are names like others', () => {
  const schema = JSON.parse('{"type": "object", "properties": {"__proto__": {"type": "string"}, "a/b~c": {"type": "string"}}}') as unknown;
  const { value } = valueOf(fieldOf(schema), { '/__proto__': 'x', '/a~1b~0c': 'y' });
  expect(JSON.stringify(value)).toBe('{"__proto__":"x","a/b~c":"y"}');
});
