/** The search in output, and the picture of a trace. */

import { expect, test } from 'vitest';
import { Watched } from '../support/browser.ts';
import type { Node } from '../support/node.ts';
import { Rig } from '../support/rig.ts';

let node: Node;

const rig = Rig.for('packs', {}, async (started) => {
  node = started;
});

test('a search in output says what it searched, goes from match to match, and reads on to the beginning', async () => {
  const text = `needle-at-the-start\n${'padding of a long line '.repeat(100)}`;
  const { id } = await node.ask<{ id: string }>('POST', '/actions/shop.print/execute', { params: { text, lines: 40_000 } });
  await node.until(async () => ((await node.ask<{ status: string }>('GET', `/executions/${id}`)).status === 'succeeded' ? true : undefined));
  const watched = await Watched.open(rig.browser, node.url);
  const { page } = watched;
  await page.goto(`/ui/executions/${id}?tab=output`);
  await watched.logIn(node.token);
  const field = page.getByRole('searchbox', { name: 'Find in the output' });
  await page.getByText(/Searches the last \d+ KiB of \d+ KiB\./).waitFor();
  await page.getByRole('main').focus();
  await page.keyboard.press('/');
  await field.fill('line 39999');
  await page.getByText('1 line', { exact: true }).waitFor();
  await field.press('Enter');
  await page.getByText('1 of 1').waitFor();
  await page.locator('.printed[aria-current]', { hasText: 'line 39999' }).waitFor();
  await field.fill('NEEDLE-at');
  await page.getByText('1 line', { exact: true }).waitFor();
  await page.getByRole('button', { name: 'Search everything' }).click();
  await page.getByText('2 lines', { exact: true }).waitFor();
  await page.getByText(/Searches all of it, \d+ KiB\./).waitFor();
  await page.getByRole('button', { name: 'Next match' }).click();
  await page.getByText('2 of 2').waitFor();
  await page.getByRole('button', { name: 'Next match' }).focus();
  await page.keyboard.press('n');
  await page.getByText('1 of 2').waitFor();
  await page.locator('.printed[aria-current]', { hasText: 'needle-at-the-start' }).waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

test('a trace is a tree, and a picture on demand that arrow keys follow', async () => {
  await node.order('F1');
  const { parent } = await node.question('F1');
  const { event } = await node.ask<{ event: string }>('GET', `/executions/${parent}`);
  const watched = await Watched.open(rig.browser, node.url);
  const { page } = watched;
  await page.goto(`/ui/trace/${event}`);
  await watched.logIn(node.token);
  await page.getByRole('list', { name: 'Trace' }).waitFor();
  await page.getByRole('link', { name: 'Graph' }).click();
  const boxes = page.getByRole('region', { name: 'Graph' }).getByRole('link');
  await boxes.first().waitFor();
  await boxes.first().focus();
  await page.keyboard.press('ArrowRight');
  expect(await page.evaluate(() => document.activeElement?.textContent)).toMatch(/rule shop\..*caused by event shop\.order/s);
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('Enter');
  await page.waitForURL(`**/ui/executions/${parent}`);
  await watched.expectNoFaults();
  await watched.close();
});
