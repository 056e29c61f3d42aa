/** What a browser keeps up to date: with many tabs, without shared workers, in the menu, and over kills of the node. */

import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { Watched } from '../support/browser.ts';
import type { Node } from '../support/node.ts';
import { Rig } from '../support/rig.ts';

/** How many tabs are open at once. A browser has six connections to a node over HTTP/1.1. */
const TABS = Number(process.env.ENSUE_TABS ?? 8);
/** How often the node is killed. */
const KILLS = Number(process.env.ENSUE_KILLS ?? 4);
/** The time for a test with this many tabs or kills, in milliseconds. */
const LIMIT = 180_000 + 15_000 * (TABS + KILLS);

let node: Node;

const rig = Rig.for('packs', {}, async (started) => {
  node = started;
  await node.ask('PUT', '/roles/shippers', { permissions: ['inquiries:read', 'inquiries:answer'] });
});

async function print(text: string): Promise<string> {
  return (await node.ask<{ id: string }>('POST', '/actions/shop.print/execute', { params: { text, lines: 1 } })).id;
}

/** Returns how many streams the node serves. */
async function streams(): Promise<number> {
  const metrics = await fetch(`${node.url}/metrics`, { headers: { authorization: `Bearer ${node.token}` } });
  const depth = /^ensue_queue_depth\{queue="live_streams"\} (\d+)$/m.exec(await metrics.text())?.[1];
  if (depth === undefined) throw new Error('the node does not say how many streams it serves');
  return Number(depth);
}

const rowOf = (page: Page, id: string): ReturnType<Page['locator']> => page.locator(`#row-${id}`);

test(`${TABS} tabs are open; all of them load and show a change, over one stream`, async () => {
  await print('before');
  const watched = await rig.loggedIn('/ui/executions');
  const tabs = [watched];
  for (let at = 1; at < TABS; at += 1) {
    const tab = await watched.tab(node.url);
    await tab.page.goto(`${node.url}/ui/executions`);
    await tab.page.getByRole('row').first().waitFor();
    tabs.push(tab);
  }
  await expect.poll(streams).toBe(1);
  const id = await print('seen by all');
  for (const tab of tabs) await rowOf(tab.page, id).waitFor();
  expect(await streams()).toBe(1);
  for (const tab of tabs) await tab.expectNoFaults();
  await watched.close();
  await expect.poll(streams).toBe(0);
}, LIMIT);

test('without shared workers one tab holds the stream for the others, and when it is closed another one does', async () => {
  const watched = await Watched.open(rig.browser, node.url);
  await watched.page.context().addInitScript(() => Reflect.deleteProperty(globalThis, 'SharedWorker'));
  await watched.page.goto('/ui/executions');
  await watched.logIn(node.token);
  await watched.page.getByRole('row').first().waitFor();
  const others: Watched[] = [];
  for (let at = 1; at < TABS; at += 1) {
    const tab = await watched.tab(node.url);
    await tab.page.goto(`${node.url}/ui/executions`);
    await tab.page.getByRole('row').first().waitFor();
    others.push(tab);
  }
  expect(await watched.page.evaluate(() => 'SharedWorker' in globalThis)).toBe(false);
  await expect.poll(streams).toBe(1);
  const first = await print('held by the first');
  for (const tab of [watched, ...others]) await rowOf(tab.page, first).waitFor();
  // The next stream begins only after this change.
  let begin: () => void = () => {};
  const isOver = new Promise<void>((resolve) => (begin = resolve));
  let held = 0;
  await watched.page.context().route('**/api/v1/changes*', async (route) => {
    held += 1;
    await isOver;
    // A stream that was replaced meanwhile is gone.
    await route.continue().catch(() => {});
  });
  await watched.page.close();
  await expect.poll(() => held).toBeGreaterThan(0);
  const second = await print('between two streams');
  await node.until(async () => ((await node.ask<{ status: string }>('GET', `/executions/${second}`)).status === 'succeeded' ? true : undefined));
  begin();
  for (const tab of others) await rowOf(tab.page, second).waitFor();
  await expect.poll(streams).toBe(1);
  for (const tab of others) await tab.expectNoFaults();
  await watched.close();
}, 180_000);

// The tests after this one kill the node: what ran then may need a person, and count.
test('the menu counts open questions and what needs a person, as they come and go', async () => {
  await node.ask('POST', '/identities', { name: 'ana', kind: 'person' });
  await node.ask('POST', '/grants', { subject: 'identity:ana', role: 'operator' });
  await node.ask('POST', '/grants', { subject: 'identity:ana', role: 'approver' });
  const { token } = await node.ask<{ token: string }>('POST', '/tokens', { name: 'ana-laptop', identity: 'ana' });
  const watched = await rig.loggedIn('/ui/executions', token);
  const { page } = watched;
  const menu = page.getByRole('navigation', { name: 'Menu' });
  await menu.getByRole('link', { name: /^Inbox$/ }).waitFor();
  await menu.getByRole('link', { name: /^Now$/ }).waitFor();
  const params = { title: 'Go on?', assignees: ['ana'], answer: { type: 'object', required: ['go'], properties: { go: { type: 'boolean' } } } };
  const { id } = await node.ask<{ id: string }>('POST', '/actions/core.inquiry/execute', { params });
  await menu.getByRole('link', { name: 'Inbox (1 question to you)' }).waitFor();
  await node.ask('POST', '/actions/mill.press/execute', { params: { order: 'D1', fails: true } });
  await menu.getByRole('link', { name: 'Now (1 thing needs a person)' }).waitFor();
  await node.ask('POST', `/executions/${id}/cancel`, {});
  await menu.getByRole('link', { name: /^Inbox$/ }).waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

test(`a node is killed ${KILLS} times under a live list: nothing is missing or twice, and a draft is kept`, async () => {
  await print('before all kills');
  await node.order('K1');
  const { id: question } = await node.question('K1');
  const watched = await rig.loggedIn('/ui/executions?action=shop.print', await node.tokenOf('maria', ['viewer', 'approver', 'shippers']));
  const { page } = watched;
  // All rows of the list fit on the screen, so that all of them are in the document.
  await page.setViewportSize({ width: 1280, height: 400 + 100 * KILLS });
  await page.getByRole('row').first().waitFor();
  const before = await page.getByRole('row').count();
  const draft = await watched.tab(node.url);
  await draft.page.goto(`${node.url}/ui/inbox/${question}`);
  await draft.page.getByLabel('note (optional)').fill('my draft');
  const made: string[] = [];
  for (let kill = 0; kill < KILLS; kill += 1) {
    // What is accepted right before a kill is on the disk, but perhaps not yet in the views or in the stream.
    made.push(await print(`before the kill ${kill}`));
    await node.kill();
    await node.restart();
    made.push(await print(`after the kill ${kill}`));
    for (const id of made) await rowOf(page, id).waitFor({ timeout: 45_000 });
  }
  const shown = (): Promise<string[]> => page.getByRole('row').getByRole('link').evaluateAll((links) => links.map((link) => link.id));
  const { items } = await node.ask<{ items: { id: string }[] }>('GET', '/executions?action=shop.print&limit=200');
  expect(items.length).toBe(before + made.length);
  await expect.poll(shown).toEqual(items.map(({ id }) => `row-${id}`));
  expect(await draft.page.getByLabel('note (optional)').inputValue()).toBe('my draft');
  await draft.page.getByLabel('Yes').check();
  await draft.page.getByRole('button', { name: 'Answer and decide' }).click();
  await draft.page.getByText('Your answer decided it.').waitFor();
  expect(await node.ask('GET', `/inquiries/${question}`)).toMatchObject({ answer: { ship: true, note: 'my draft' } });
  await watched.close();
}, LIMIT);

test('a tab that nobody sees reads nothing, and shows what changed once somebody looks at it', async () => {
  const seen = await rig.loggedIn('/ui/executions?action=shop.print');
  const hidden = await seen.tab(node.url);
  await hidden.page.goto(`${node.url}/ui/executions?action=shop.print`);
  await hidden.page.getByRole('row').first().waitFor();
  const hide = (isHidden: boolean): Promise<void> =>
    hidden.page.evaluate((value) => {
      Object.defineProperty(document, 'hidden', { configurable: true, get: () => value });
      document.dispatchEvent(new Event('visibilitychange'));
    }, isHidden);
  await hide(true);
  let reads = 0;
  hidden.page.on('request', (request) => {
    if (/\/api\/v1\/(executions|now)/.test(request.url())) reads += 1;
  });
  const first = await print('while hidden');
  await node.until(async () => ((await node.ask<{ status: string }>('GET', `/executions/${first}`)).status === 'succeeded' ? true : undefined));
  const second = await print('later');
  // Both tabs read the same stream, in which the second change comes after the first.
  await rowOf(seen.page, second).waitFor();
  expect(reads).toBe(0);
  expect(await rowOf(hidden.page, first).count()).toBe(0);
  await hide(false);
  await rowOf(hidden.page, first).waitFor();
  await rowOf(hidden.page, second).waitFor();
  await hidden.expectNoFaults();
  await seen.close();
});
