import { expect, test } from 'vitest';
import { Exact } from '../../api/json.ts';
import { differences } from './values.ts';

test('the innermost values that differ are found, also those that only one has', () => {
  const first = { a: 1, b: { c: [1, 2], d: 'x' }, gone: null };
  const second = { b: { d: 'x', c: [1, 3, 4] }, a: 1 };
  expect(differences(first, second)).toEqual([
    { pointer: '/b/c/1', first: 2, second: 3 },
    { pointer: '/b/c/2', first: undefined, second: 4 },
    { pointer: '/gone', first: null, second: undefined },
  ]);
});

test('the order of names is no difference, and a list is not an object', () => {
  expect(differences({ a: 1, b: 2 }, { b: 2, a: 1 })).toEqual([]);
  expect(differences([], {})).toEqual([{ pointer: '', first: [], second: {} }]);
  expect(differences(1, '1').length).toBe(1);
});

test('names of values may be those that objects have anyway', () => {
  const first = JSON.parse('{"__proto__": 1, "a/b~c": 1}') as unknown;
  expect(differences(first, {})).toEqual([
    { pointer: '/__proto__', first: 1, second: undefined },
    { pointer: '/a~1b~0c', first: 1, second: undefined },
  ]);
});

test('long numbers differ in their last digit', () => {
  expect(differences(new Exact('12345678901234567890'), new Exact('12345678901234567891')).length).toBe(1);
  expect(differences(new Exact('12345678901234567890'), new Exact('12345678901234567890'))).toEqual([]);
});
