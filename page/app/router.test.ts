import { expect, test } from 'vitest';
import { link, matched, ownAddress, placeOf } from './router.svelte.ts';

test('a pattern names the parts of a path', () => {
  expect(matched('/inbox/:id', '/inbox/42')).toEqual({ id: '42' });
  expect(matched('/packs/:pack/files/:path*', '/packs/p/files/a/b%20c.yaml')).toEqual({ pack: 'p', path: 'a/b c.yaml' });
  expect(matched('/', '/')).toEqual({});
  for (const path of ['/inbox', '/inbox/', '/inbox/1/2', '/other/1']) expect(matched('/inbox/:id', path), path).toBeNull();
});

test('a path with a broken escape is shown as it is', () => {
  expect(matched('/rules/:ref', '/rules/%E0%A4%A')).toEqual({ ref: '%E0%A4%A' });
});

test('an address has its path below the base, its query and its fragment', () => {
  const place = placeOf(new URL('https://node.test/ui/executions/?status=failed#L12'));
  expect([place.path, place.query.get('status'), place.hash]).toEqual(['/executions', 'failed', 'L12']);
  expect(placeOf(new URL('https://node.test/ui/')).path).toBe('/');
});

test('a link leaves empty values out', () => {
  expect(link('/executions', { status: 'failed', action: undefined, rule: '' })).toBe('/ui/executions?status=failed');
});

test('an address of another site is replaced', () => {
  const tricks = ['//evil.test', '/ui//evil.test', 'https://evil.test', '/\\evil.test', 'javascript:alert(1)', '/ui/\\evil.test', '/api/v1/x', '/ui/ x', '', null];
  for (const trick of tricks) expect(ownAddress(trick), String(trick)).toBe('/ui/');
  for (const own of ['/ui/', '/ui/inbox/42', '/ui/executions?status=failed&action=p.x', '/ui/answer#code']) expect(ownAddress(own)).toBe(own);
});
