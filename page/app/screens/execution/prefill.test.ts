import { expect, test } from 'vitest';
import { Exact } from '../../api/json.ts';
import { fieldOf } from '../../forms/model.ts';
import { changesOf, draftFrom } from './prefill.ts';

const FIELD = fieldOf({
  type: 'object',
  required: ['region', 'sure'],
  properties: {
    region: { enum: ['eu', 'us'] },
    sure: { type: 'boolean' },
    count: { type: 'integer' },
    tags: { type: 'array', items: { type: 'string' } },
    at: { type: 'string', format: 'date-time' },
    place: { type: 'object', properties: { row: { type: 'number' }, shelf: { type: 'string' } } },
    any: {},
    key: { type: 'string' },
  },
});
const VALUE = { region: 'us', sure: false, count: 3, tags: ['a', 'b'], at: '2026-03-28T12:00:00.000Z', place: { row: 1.5, shelf: 'b' }, any: { x: [1] }, key: '***' };

test('a form begins with the value, and what is not changed is not sent', () => {
  const draft = draftFrom(FIELD, VALUE);
  expect(draft).toMatchObject({ '/region': '1', '/sure': false, '/count': '3', '/tags': 'a\nb', '/place/row': '1.5' });
  expect(changesOf(FIELD, draft, { ...draft })).toEqual({ values: {}, errors: [] });
});

test('only what was changed is sent, as a whole', () => {
  const draft = draftFrom(FIELD, VALUE);
  expect(changesOf(FIELD, draft, { ...draft, '/region': '0', '/place/row': '2' })).toEqual({
    values: { region: 'eu', place: { row: 2, shelf: 'b' } },
    errors: [],
  });
  expect(changesOf(FIELD, draft, { ...draft, '/sure': true }).values).toEqual({ sure: true });
});

test('what does not fit is an error only where it was changed', () => {
  const draft = draftFrom(FIELD, { ...VALUE, count: 'many' });
  expect(changesOf(FIELD, draft, { ...draft })).toEqual({ values: {}, errors: [] });
  expect(changesOf(FIELD, draft, { ...draft, '/count': '1.5' }).errors.map((error) => error.pointer)).toEqual(['/count']);
});

test('a number that JavaScript cannot hold stays as it came', () => {
  expect(draftFrom(FIELD, { count: new Exact('12345678901234567890') })).toEqual({ '/count': '12345678901234567890' });
});

test('without a known schema the parameters are one text', () => {
  const field = fieldOf({});
  const draft = draftFrom(field, { a: 1 });
  expect(changesOf(field, draft, { ...draft })).toEqual({ values: {}, errors: [] });
  expect(changesOf(field, draft, { '': '{"a": 2}' }).values).toEqual({ a: 2 });
  expect(changesOf(field, draft, { '': '{' }).errors.length).toBe(1);
});
