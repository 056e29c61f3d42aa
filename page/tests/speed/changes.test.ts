/** How soon a change is on the screen while many events come, and what that costs the browser and the node. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, test } from 'vitest';
import { Watched, launch } from '../support/browser.ts';
import type { Node } from '../support/node.ts';
import { FOLDER, bigNode } from './big.ts';
import { Figures } from './figures.ts';

const SECONDS = Number(process.env.ENSUE_SPEED_SECONDS ?? 30);
const LISTS_PER_SECOND = 20;
const PAGES = 20;

const figures = new Figures();
let node: Node;
let browser: Browser;

beforeAll(async () => {
  [node, browser] = await Promise.all([bigNode(), launch()]);
});

afterAll(async () => {
  figures.report(join(FOLDER, 'changes.json'));
  await browser?.close();
  await node?.stop();
});

interface Sent {
  id: string;
  at: number;
}

/** Sends events at a rate, in lists, each once its time has come. Returns them in the order of the log. */
async function send(rate: number): Promise<Sent[]> {
  const sent: Sent[] = [];
  const begin = Date.now();
  for (let list = 0; list < SECONDS * LISTS_PER_SECOND; list += 1) {
    await new Promise((done) => setTimeout(done, begin + (list * 1_000) / LISTS_PER_SECOND - Date.now()));
    const at = Date.now();
    const events = Array.from({ length: rate / LISTS_PER_SECOND }, (_, one) => ({ trigger: 'bench.tick', payload: { n: one, text: '' } }));
    const { items } = await node.ask<{ items: { id: string }[] }>('POST', '/events', events);
    sent.push(...items.map(({ id }) => ({ id, at })));
  }
  return sent;
}

/** Notes when each row is first on the screen. */
async function noteRows(page: Page): Promise<void> {
  await page.evaluate(() => {
    const seen: [string, number][] = [];
    const known = new Set<string>();
    Object.assign(globalThis, { ensueSeen: seen });
    const look = (): void => {
      for (const { id } of document.querySelectorAll('[role="row"] a')) {
        if (known.has(id)) continue;
        known.add(id);
        seen.push([id.slice('row-'.length), Date.now()]);
      }
    };
    look();
    new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
  });
}

/** Returns how long each event took. The list begins with the newest: it shows an event once it shows that one or a newer one. */
async function delays(page: Page, sent: readonly Sent[]): Promise<number[]> {
  const seen = new Map(await page.evaluate(() => (globalThis as unknown as { ensueSeen: [string, number][] }).ensueSeen));
  const took: number[] = [];
  let shownAt = Number.POSITIVE_INFINITY;
  for (const { id, at } of [...sent].reverse()) {
    shownAt = Math.min(shownAt, seen.get(id) ?? Number.POSITIVE_INFINITY);
    took.push(shownAt - at);
  }
  return took;
}

/** Returns the processor time of all processes of the browser, in seconds, and the memory of the largest page, in MiB. */
async function costs(): Promise<{ seconds: number; mebibytes: number }> {
  const cdp = await browser.newBrowserCDPSession();
  const { processInfo } = await cdp.send('SystemInfo.getProcessInfo');
  await cdp.detach();
  const memory = processInfo.filter(({ type }) => type === 'renderer').map(({ id }) => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${id}/status`, 'utf8'))?.[1]) / 1_024);
  return { seconds: processInfo.reduce((sum, { cpuTime }) => sum + cpuTime, 0), mebibytes: Math.max(...memory) };
}

async function openList(context?: BrowserContext): Promise<Watched> {
  const watched = context ? await Watched.in(context, node.url) : await Watched.open(browser, node.url);
  await watched.page.goto(`${node.url}/ui/events?trigger=bench.tick`);
  if (!context) await watched.logIn(node.token);
  await watched.page.getByRole('row').first().waitFor();
  return watched;
}

for (const [rate, aim] of [[200, 500], [1_000, 1_000]] as const) {
  test(`a list shows ${rate} events a second`, async () => {
    const watched = await openList();
    await noteRows(watched.page);
    const before = await costs();
    const begin = Date.now();
    const sent = await send(rate);
    const after = await costs();
    const seconds = (Date.now() - begin) / 1_000;
    const last = sent.at(-1)?.id ?? '';
    await watched.page.locator(`#row-${last}`).waitFor();
    figures.add(`from an event to the screen, at ${Math.round(sent.length / seconds)} a second`, 'ms', await delays(watched.page, sent), aim);
    figures.add(`the browser meanwhile, of one core`, '%', [(100 * (after.seconds - before.seconds)) / seconds], 15);
    figures.add('memory of the page after it', 'MiB', [after.mebibytes], 150);
    await watched.close();
  });
}

test(`${PAGES} open pages cost the node little`, async () => {
  const perEvent = async (): Promise<number> => {
    const before = node.processorTime();
    const sent = await send(200);
    return (1_000 * (node.processorTime() - before)) / sent.length;
  };
  const alone = await perEvent();
  const watched = await openList();
  for (let at = 1; at < PAGES; at += 1) await openList(watched.page.context());
  const beside = await perEvent();
  figures.add('processor time of the node for an event, at 200 a second, without a page', 'ms', [alone], null);
  figures.add(`the same with ${PAGES} lists of events on screens`, 'ms', [beside], null);
  await watched.close();
});
