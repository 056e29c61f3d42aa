import { expect, test } from 'vitest';
import { grantOf, limitText, tokenOf } from './model.ts';

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
