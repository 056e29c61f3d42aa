/** How soon screens of a node with a million events are there. */

import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Watched, launch } from '../support/browser.ts';
import type { Node } from '../support/node.ts';
import { FOLDER, STEPS, bigNode } from './big.ts';
import { Figures } from './figures.ts';
import { framesOf, timed, type Shown, type Took } from './timing.ts';

const ROUNDS = 12;
/** Items of a workflow of which the timeline shows all 10,000 executions: itself, a step before them, and the items. */
const ITEMS = 9_998;
/** A slow mobile line, and a phone. */
const SLOW_LINE = { offline: false, latency: 150, downloadThroughput: (1_600 * 1_024) / 8, uploadThroughput: (750 * 1_024) / 8 };
const SLOW_CPU = 4;

const figures = new Figures();
let node: Node;
let browser: Browser;

beforeAll(async () => {
  [node, browser] = await Promise.all([bigNode(), launch()]);
});

afterAll(async () => {
  figures.report(join(FOLDER, 'screens.json'));
  await browser?.close();
  await node?.stop();
});

async function loggedIn(path: string): Promise<Watched> {
  const watched = await Watched.open(browser, node.url);
  await watched.page.goto(path);
  await watched.logIn(node.token);
  return watched;
}

async function run(action: string, params: object = {}): Promise<string> {
  return (await node.ask<{ id: string }>('POST', `/actions/${action}/execute`, { params })).id;
}

/** Waits until an execution has ended, however long that takes. */
async function ended(id: string): Promise<void> {
  for (;;) {
    if ((await node.ask<{ ended_at: string | null }>('GET', `/executions/${id}`)).ended_at) return;
    await new Promise((done) => setTimeout(done, 200));
  }
}

async function asked(): Promise<string> {
  const id = await run('core.inquiry', { title: 'Go on?', assignees: ['role:admin'], answer: { type: 'object', required: ['go'], properties: { go: { type: 'boolean' } } } });
  return node.until(async () => (await node.ask<{ inquiry: string | null }>('GET', `/executions/${id}`)).inquiry ?? undefined);
}

function addTook(what: string, took: readonly Took[], aim: number): void {
  figures.add(what, 'ms', took.map(({ all }) => all), aim);
  figures.add(`${what}: without the answers of the node`, 'ms', took.map(({ own }) => own), null);
}

async function pressed(page: Page, ...keys: string[]): Promise<void> {
  for (const key of keys) await page.keyboard.press(key);
}

/** Follows a link that is not on the screen. */
async function follow(page: Page, href: string): Promise<void> {
  await page.evaluate((address) => {
    const link = document.createElement('a');
    link.href = address;
    document.body.append(link);
    link.dispatchEvent(new PointerEvent('pointerdown', { bubbles: true }));
    link.click();
    link.remove();
  }, `/ui${href}`);
}

test('a browser that was never here sees the page, and can answer a question', async () => {
  const inquiry = await asked();
  for (const [name, line, aims] of [
    ['', null, [300, 500]],
    [' on a slow line and a slow phone', SLOW_LINE, [2_500, 2_500]],
  ] as const) {
    const [first, answerable]: [number[], number[]] = [[], []];
    for (let round = 0; round < ROUNDS; round += 1) {
      // The cookie of a session, and an empty cache.
      const watched = await loggedIn('/ui/me');
      const { page } = watched;
      const cdp = await page.context().newCDPSession(page);
      await cdp.send('Network.clearBrowserCache');
      if (line) {
        await cdp.send('Network.emulateNetworkConditions', line);
        await cdp.send('Emulation.setCPUThrottlingRate', { rate: SLOW_CPU });
      }
      await page.goto(`/ui/inbox/${inquiry}`, { waitUntil: 'commit' });
      await page.getByRole('button', { name: 'Answer and decide' }).waitFor();
      answerable.push(await page.evaluate(() => performance.now()));
      first.push(await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? Number.NaN));
      await watched.close();
    }
    figures.add(`first content${name}`, 'ms', first, aims[0]);
    figures.add(`a question can be answered${name}`, 'ms', answerable, aims[1]);
  }
});

test('each screen comes after its key', async () => {
  await asked();
  const row = '[role="row"]';
  const screens: [string, string[], Shown][] = [
    ['executions', ['g', 'x'], { heading: 'Executions', content: row }],
    ['events', ['g', 'e'], { heading: 'Events', content: row }],
    ['now', ['g', 'n'], { heading: 'Now', content: '#now-stuck' }],
    ['inbox', ['g', 'i'], { heading: 'Inbox', content: row }],
    ['rules', ['g', 'r'], { heading: 'Rules', content: 'main a[href*="/ui/rules/"]' }],
    ['packs', ['g', 'p'], { heading: 'Packs', content: 'main a[href*="/ui/packs/"]' }],
    ['schedules', ['g', 's'], { heading: 'Schedules', content: 'main h2, main .empty' }],
    ['log', ['g', 'l'], { heading: 'Log', content: 'main a[href*="/ui/log/"]' }],
  ];
  const watched = await loggedIn('/ui/me');
  const { page } = watched;
  await page.getByRole('heading', { name: 'admin' }).waitFor();
  const took = new Map<string, Took[]>();
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [name, keys, shown] of screens) {
      const time = await timed(page, shown, () => pressed(page, ...keys));
      // The first time, the browser loads the screen itself.
      if (round > 0) took.set(name, [...(took.get(name) ?? []), time]);
    }
  }
  for (const [name, times] of took) addTook(`${name}, after its key`, times, 200);
  addTook('all of these screens', [...took.values()].flat(), 200);
  await watched.close();
});

test('filters, one execution, and why a rule did not match, come after their click or key', async () => {
  const watched = await loggedIn('/ui/executions');
  const { page } = watched;
  await page.getByRole('row').first().waitFor();
  const took: Record<'filtered' | 'old' | 'execution' | 'why', Took[]> = { filtered: [], old: [], execution: [], why: [] };
  const { items } = await node.ask<{ items: { id: string }[] }>('GET', '/events?trigger=bench.tick&matched=none&limit=200');
  for (let round = 0; round < ROUNDS; round += 1) {
    const leave = (): Promise<Took> => timed(page, { heading: 'Packs', content: 'main a' }, () => pressed(page, 'g', 'p'));
    await leave();
    took.filtered.push(await timed(page, { heading: 'Executions', content: '[role="row"]' }, () => follow(page, '/executions?status=succeeded&action=core.noop')));
    await leave();
    took.old.push(await timed(page, { heading: 'Events', content: '[role="row"]' }, () => follow(page, `/events?trigger=bench.tick&until=${new Date().toISOString()}`)));
    await timed(page, { heading: 'Executions', content: '[role="row"]' }, () => pressed(page, 'g', 'x'));
    await page.keyboard.press('j');
    took.execution.push(await timed(page, { heading: '', content: 'main nav [aria-current="page"]' }, () => pressed(page, 'Enter')));
    await leave();
    const event = items[round]?.id ?? '';
    took.why.push(await timed(page, { heading: 'bench.tick', content: '[data-rule="bench.fifth"] [role="list"], [data-rule="bench.fifth"] ul' }, () => follow(page, `/events/${event}`)));
  }
  addTook('executions by status and action', took.filtered, 200);
  addTook('events of one trigger', took.old, 200);
  addTook('one execution', took.execution, 200);
  addTook('why a rule did not match', took.why, 150);
  await watched.close();
});

test('a timeline of 10000 executions is shown, and scrolls', async () => {
  const id = await run('mill.batch', { items: Array.from({ length: ITEMS }, (_, at) => at), bad: ITEMS - 1 });
  await ended(id);
  const shown: Took[] = [];
  let frames: number[] = [];
  for (let round = 0; round < 3; round += 1) {
    const watched = await loggedIn(`/ui/executions/${id}`);
    const { page } = watched;
    await page.getByRole('link', { name: 'Timeline' }).waitFor();
    const folded = await timed(page, { heading: 'mill.batch', content: 'canvas' }, () => page.getByRole('link', { name: 'Timeline' }).click());
    const rows = page.getByRole('region', { name: 'When each step ran' });
    const open = rows.getByRole('button', { name: 'Show each of grind' });
    const all = await timed(page, { heading: 'mill.batch', content: `li[aria-setsize="${ITEMS + 3}"]` }, () => open.click());
    shown.push({ all: folded.all + all.all, own: folded.own + all.own });
    expect(await rows.locator('li').count()).toBeLessThanOrEqual(60);
    frames = [...frames, ...(await framesOf(page, '[role="region"][aria-label="When each step ran"]', 200))];
    await watched.close();
  }
  addTook('a timeline of 10000 executions, and each of them as a row', shown, 800);
  figures.add('a frame while it scrolls', 'ms', frames, 20);
});

test(`a graph of ${STEPS} steps is shown`, async () => {
  const id = await run('speed.thousand');
  await ended(id);
  const shown: Took[] = [];
  for (let round = 0; round < 5; round += 1) {
    const watched = await loggedIn(`/ui/executions/${id}`);
    const { page } = watched;
    await page.getByRole('link', { name: 'Graph' }).waitFor();
    shown.push(await timed(page, { heading: 'speed.thousand', content: '[role="region"][aria-label="Graph"] a' }, () => page.getByRole('link', { name: 'Graph' }).click()));
    await watched.close();
  }
  addTook(`a graph of ${STEPS} steps`, shown, 300);
});

test('an output of a gibibyte opens at its end', async () => {
  const id = await run('speed.loud');
  await ended(id);
  const shown: Took[] = [];
  for (let round = 0; round < 5; round += 1) {
    const watched = await loggedIn(`/ui/executions/${id}`);
    const { page } = watched;
    await page.getByRole('link', { name: 'Output' }).waitFor();
    shown.push(await timed(page, { heading: 'speed.loud', content: '[role="region"][aria-label="Standard output"]' }, () => page.getByRole('link', { name: 'Output' }).click()));
    await page.getByText('the last line').waitFor();
    await watched.close();
  }
  addTook('the end of an output of a gibibyte', shown, 300);
});

test('a backtest of a million events ends', async () => {
  const begin = Date.now();
  await node.ask('POST', '/rules/backtest', { rule: 'bench.fifth' });
  figures.add('a backtest of all events, without the page', 'ms', [Date.now() - begin], null);
});
