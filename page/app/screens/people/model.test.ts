import { expect, test } from 'vitest';
import { absenceOf, grantOf, identityOf, limitText, localTime, namesOf, tokenOf } from './model.ts';

test('what a grant covers is written as the command line takes it', () => {
  expect(limitText(null)).toBe('');
  expect(limitText({ packs: ['shop'], actions: ['shop.print'], hooks: [], labels: { site: ['eu', 'us'] } })).toBe(
    'pack=shop,action=shop.print,label:site=eu,label:site=us',
  );
});

test('a grant without limits and without an end says nothing of them', () => {
  const typed = { subject: ' identity:ana ', role: 'viewer', pack: '', action: '', until: '' };
  expect(grantOf(typed)).toEqual({ subject: 'identity:ana', role: 'viewer' });
  expect(grantOf({ ...typed, pack: 'shop', until: '2100-01-01T00:00' })).toEqual({
    subject: 'identity:ana', role: 'viewer', on: { packs: ['shop'] }, until: new Date('2100-01-01T00:00').toISOString(),
  });
});

test('a token of an identity has no roles of its own', () => {
  const typed = { name: 'laptop', identity: 'ana', roles: 'viewer', expires: '90d' };
  expect(tokenOf(typed)).toEqual({ name: 'laptop', identity: 'ana', expires_in: '90d' });
  expect(tokenOf({ ...typed, identity: '', roles: ' viewer, shippers ,', expires: '' })).toEqual({ name: 'laptop', roles: ['viewer', 'shippers'] });
});

test('names are separated by commas or spaces, and each counts once', () => {
  expect(namesOf(' release, oncall release,')).toEqual(['release', 'oncall']);
  expect(identityOf({ name: ' ana ', kind: 'person', groups: '' })).toEqual({ name: 'ana', kind: 'person' });
  expect(identityOf({ name: 'ci', kind: 'service', groups: 'release' })).toEqual({ name: 'ci', kind: 'service', groups: ['release'] });
});

test('an absence says only what was typed, and its times come back as they were typed', () => {
  expect(absenceOf({ from: '', until: '', deputy: ' ' })).toEqual({});
  const until = '2100-07-01T09:30';
  const absence = absenceOf({ from: '', until, deputy: 'bo' });
  expect(absence).toEqual({ until: new Date(until).toISOString(), deputy: 'bo' });
  expect(localTime(absence.until)).toBe(until);
});
