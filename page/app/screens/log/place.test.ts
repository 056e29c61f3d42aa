import { expect, test } from 'vitest';
import { kindInWords, pathOf } from '../../parts/kinds.ts';
import { beginning } from './place.ts';

test('without a filter the log opens at its end, and with one at its start', () => {
  expect(beginning(new URLSearchParams(''), false, 250)).toBe(150);
  expect(beginning(new URLSearchParams(''), false, 20)).toBe(0);
  expect(beginning(new URLSearchParams('kind=key.set'), true, 250)).toBe(0);
  expect(beginning(new URLSearchParams('after=17'), false, 250)).toBe(17);
  expect(beginning(new URLSearchParams('after=x'), false, 250)).toBe(150);
});

test('kinds are words, and streams lead to the screen of their thing', () => {
  expect(kindInWords('execution.cancel_requested')).toBe('execution cancel requested');
  expect(pathOf('execution/42')).toBe('/executions/42');
  expect(pathOf('inquiry/7')).toBe('/inbox/7');
  expect(pathOf('key/shop.key')).toBeNull();
  expect(pathOf('execution')).toBeNull();
});
