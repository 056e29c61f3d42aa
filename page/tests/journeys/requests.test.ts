/** How many requests a screen makes: each costs a phone a round trip. */

import type { Page, Request } from 'playwright-core';
import { expect, test } from 'vitest';
import type { Node } from '../support/node.ts';
import { Rig } from '../support/rig.ts';

const REQUESTS_MAX = 3;
/** Screens of several lists that have nothing to do with each other, or of charts, each series of which is a request. */
const MORE: Record<string, number> = { '/people/ana': 6, '/rules': 4, '/rules/bill.big': 5 };

let node: Node;
let paths: string[];

const rig = Rig.for('packs', {}, async (started) => {
  node = started;
  await node.order('R1');
  const { id, parent } = await node.question('R1');
  const { event } = await node.ask<{ event: string }>('GET', `/executions/${parent}`);
  const { id: invoice } = await node.ask<{ id: string }>('POST', '/events', { trigger: 'bill.invoice', payload: { id: 'R2', amount: 1.5 } });
  const failed = await node.ask<{ id: string }>('POST', '/actions/mill.press/execute', { params: { order: 'R3', fails: true } });
  await node.until(async () => ((await node.ask<{ status: string }>('GET', `/executions/${failed.id}`)).status === 'failed' ? true : undefined));
  await node.ask('POST', '/identities', { name: 'ana', kind: 'person' });
  paths = [
    '/me',
    '/inbox',
    `/inbox/${id}`,
    '/now',
    '/executions',
    `/executions/${parent}`,
    ...['graph', 'timeline', 'attempts', 'output', 'data', 'files', 'records'].map((tab) => `/executions/${parent}?tab=${tab}`),
    `/executions/${failed.id}`,
    `/executions/${parent}/against/${failed.id}`,
    '/events',
    `/events/${invoice}`,
    `/trace/${event}`,
    '/rules',
    '/rules/bill.big',
    ...['source', 'matches', 'why', 'shadow', 'try'].map((tab) => `/rules/bill.big?tab=${tab}`),
    '/packs',
    '/packs/bill',
    '/packs/bill/files/rules/noted.yaml',
    '/actions',
    '/actions/shop.ship',
    '/actions/shop.print/run',
    '/schedules',
    '/hooks',
    ...['lock', 'queue', 'timer', 'parked', 'dead'].map((kind) => `/waiting?kind=${kind}`),
    '/people',
    '/people/ana',
    ...['grants', 'tokens', 'sessions'].map((tab) => `/people?tab=${tab}`),
    '/audit',
    '/log',
    '/log/5',
    '/keys',
    '/vars',
    '/system',
  ];
});

/** Follows a link, and returns what the screen asked the node for until it was quiet. */
async function askedBy(page: Page, path: string): Promise<string[]> {
  const asked: string[] = [];
  const open = new Set<Request>();
  let changedAt = Date.now();
  const begun = (request: Request): void => {
    const { pathname, search, searchParams } = new URL(request.url());
    // The page asks for the caller's rights now and then, whatever the screen is; the stream of changes is one for all screens.
    if (!pathname.startsWith('/api/v1/') || pathname === '/api/v1/me' || pathname === '/api/v1/changes') return;
    asked.push(`${request.method()} ${pathname}${search}`);
    changedAt = Date.now();
    // What follows an output ends with it.
    if (!searchParams.has('follow')) open.add(request);
  };
  const ended = (request: Request): void => {
    if (open.delete(request)) changedAt = Date.now();
  };
  page.on('request', begun).on('requestfinished', ended).on('requestfailed', ended);
  await page.evaluate((href) => {
    const link = document.createElement('a');
    link.href = href;
    document.body.append(link);
    link.click();
    link.remove();
  }, `/ui${path}`);
  await page.getByRole('main').locator('h1').first().waitFor();
  await expect.poll(() => open.size === 0 && Date.now() - changedAt > 500, { timeout: 20_000 }).toBe(true);
  page.off('request', begun).off('requestfinished', ended).off('requestfailed', ended);
  return asked;
}

test(`a screen makes at most ${REQUESTS_MAX} requests, except for those with more lists`, async () => {
  const watched = await rig.loggedIn('/ui/me');
  const { page } = watched;
  await page.getByRole('heading', { name: 'admin' }).waitFor();
  const over: Record<string, string[]> = {};
  for (const path of paths) {
    const asked = await askedBy(page, path);
    if (asked.length > (MORE[path] ?? REQUESTS_MAX)) over[path] = asked;
  }
  expect(over).toEqual({});
  await watched.close();
}, 180_000);
