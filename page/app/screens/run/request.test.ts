import { expect, test } from 'vitest';
import { draftFrom } from '../../forms/prefill.ts';
import { fieldOf, valueOf } from '../../forms/model.ts';
import { LABELS, emptyTyped, labelsOf, pointerOf, requestOf, runCommand, takesNothing } from './request.ts';

const SCHEMA = {
  type: 'object',
  properties: {
    text: { type: 'string' },
    lines: { type: 'integer' },
    region: { enum: ['eu', 'us'] },
    tags: { type: 'array', items: { type: 'string' } },
    at: { type: 'string', format: 'date-time' },
    dry: { type: 'boolean' },
    place: { type: 'object', properties: { row: { type: 'number' } } },
    any: {},
  },
  required: ['text', 'lines'],
};
const field = fieldOf(SCHEMA);

test('a value that fills a form comes out of it again', () => {
  const value = {
    text: 'it is', lines: 3, region: 'us', tags: ['a', 'b'], at: '2026-11-26T08:00:00.000Z', dry: false, place: { row: 1.5 }, any: { x: [1] },
  };
  expect(valueOf(field, draftFrom(field, value))).toEqual({ value, errors: [] });
});

test('what a form cannot show is left out', () => {
  expect(draftFrom(field, { text: 3, lines: 'many', region: 'mars', dry: 'yes', unknown: 1, place: [] })).toEqual({});
  expect(draftFrom(field, 'no object')).toEqual({});
});

test('labels and a start are part of the request, and an invalid label is reported', () => {
  const typed = { draft: { '/text': 'a', '/lines': '2' }, startAt: '2026-11-26T08:00', labels: ' team = web \n\nsite=e=u' };
  const { body, errors } = requestOf(field, typed);
  expect(errors).toEqual([]);
  expect(body).toEqual({ params: { text: 'a', lines: 2 }, labels: { team: 'web', site: 'e=u' }, start_at: new Date('2026-11-26T08:00').toISOString() });
  expect(requestOf(field, { ...typed, labels: 'team' }).errors.map((error) => error.pointer)).toEqual([LABELS]);
  expect(labelsOf('=x').wrong).toBe('=x');
});

test('the command quotes what a shell would read otherwise', () => {
  const body = { params: { text: "it's a", lines: 2, any: { x: ['y z'] } }, labels: { team: 'web' }, start_at: '2026-11-26T08:00:00.000Z' };
  expect(runCommand('shop.print', field, body)).toBe(
    `ensue run shop.print --param 'text=it'\\''s a' --param lines:=2 --param 'any:={"x": ["y z"]}' --label team=web --at 2026-11-26T08:00:00.000Z`,
  );
});

test('an action without parameters needs no form', () => {
  const none = fieldOf({ type: 'object', properties: {}, required: [] });
  expect(takesNothing(none)).toBe(true);
  expect(takesNothing(field)).toBe(false);
  expect(takesNothing(fieldOf({ type: 'object' }))).toBe(true);
  expect(takesNothing(fieldOf({ type: 'object', additionalProperties: true }))).toBe(false);
  expect(requestOf(none, emptyTyped())).toEqual({ body: { params: {} }, errors: [] });
});

test('errors of the node are at the field of the form', () => {
  expect(['/text', '/params/text', '/params', '/labels/a', '/start_at'].map(pointerOf)).toEqual(['/text', '/text', '', '#labels', '#start_at']);
});
