/** What the author of a rule sees of past events: rates, what the rule decided and why, and the source of it all. */

import { expect, test } from 'vitest';
import type { Node } from '../support/node.ts';
import { Rig } from '../support/rig.ts';

let node: Node;

const rig = Rig.for('packs', {}, async (started) => {
  node = started;
});

/** Sends an invoice, and returns the id of its event once the rules have judged it. */
async function invoice(payload: Record<string, unknown>): Promise<string> {
  const { id } = await node.ask<{ id: string }>('POST', '/events', { trigger: 'bill.invoice', payload });
  return node.until(async () => {
    const { items } = await node.ask<{ items: { id: string; matched: number; erred: number }[] }>('GET', `/events?id=${id}`);
    return items.some((event) => event.matched + event.erred > 0) ? id : undefined;
  });
}

test('events that did not match are grouped by the part that decided', async () => {
  const low = [await invoice({ id: 'A1', amount: 1.5 }), await invoice({ id: 'A2', amount: 2.5 })];
  const other = await invoice({ id: 'B1', amount: 500.5 });
  await invoice({ id: 'A3', amount: 500.5 });
  const watched = await rig.loggedIn('/ui/rules/bill.big');
  const { page } = watched;
  await page.getByRole('navigation', { name: 'Parts of the rule' }).getByRole('link', { name: 'Why' }).click();
  const group = (part: string) => page.locator('details').filter({ has: page.locator('summary code', { hasText: part }) });
  const amount = group('event.payload.amount > 100.0');
  await amount.locator('summary').getByText('2 events').waitFor();
  await group('startsWith').locator('summary').getByText('1 event').waitFor();
  for (const id of low) await amount.getByRole('link', { name: id.slice(-6) }).waitFor();
  await group('startsWith').locator('summary').click();
  await group('startsWith').getByRole('link', { name: other.slice(-6) }).click();
  await page.waitForURL(`**/ui/events/${other}?rule=bill.big`);
  await page.locator('[data-rule="bill.big"][open]').getByText('Explained as of the event').waitFor();
  await page.goBack();
  await page.getByRole('navigation', { name: 'What it decided' }).getByRole('link', { name: 'matched', exact: true }).click();
  await page.waitForURL('**/ui/rules/bill.big?tab=why&verdict=matched');
  await page.locator('details summary').getByText('1 event').waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

test('a range of the rates opens the list of it, by keyboard and by pointer', async () => {
  await invoice({ id: 'R1', amount: 1.5 });
  const watched = await rig.loggedIn('/ui/now');
  const { page } = watched;
  const events = page.getByRole('slider', { name: 'Events', exact: true });
  const chart = page.getByRole('figure').filter({ has: events });
  await expect.poll(async () => Number((await chart.locator('figcaption strong').innerText()).replace(/\D/g, ''))).toBeGreaterThan(0);
  await events.focus();
  await page.keyboard.press('Home');
  expect(await events.getAttribute('aria-valuetext')).toMatch(/^\d\d:\d\d to \d\d:\d\d: 0$/);
  await page.keyboard.press('Shift+End');
  await expect.poll(() => events.getAttribute('aria-valuetext')).toMatch(/: [1-9]/);
  await page.keyboard.press('Enter');
  await page.waitForURL(/\/ui\/events\?since=[^&]+&until=/);
  await page.getByRole('row').filter({ hasText: 'bill.invoice' }).first().waitFor();
  await page.goBack();
  const box = await events.boundingBox();
  if (!box) throw new Error('the chart has no place');
  await page.mouse.move(box.x + 2, box.y + 10);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width - 2, box.y + 10);
  await page.mouse.up();
  await page.waitForURL(/\/ui\/events\?since=[^&]+&until=/);
  await page.goBack();
  // The same numbers are in a table.
  await chart.getByText('As a table').click();
  expect(await chart.getByRole('row').count()).toBe(61);
  await watched.expectNoFaults();
  await watched.close();
});

test('a rule shows its matches over time, and a range lists them', async () => {
  const id = await invoice({ id: 'A9', amount: 700.5 });
  const watched = await rig.loggedIn('/ui/rules/bill.big');
  const { page } = watched;
  const matches = page.getByRole('slider', { name: 'Matches' });
  await matches.focus();
  await page.keyboard.press('Home');
  await page.keyboard.press('Shift+End');
  await expect.poll(() => matches.getAttribute('aria-valuetext')).toMatch(/: [1-9]/);
  await page.keyboard.press('Enter');
  await page.waitForURL(/\/ui\/rules\/bill\.big\?tab=matches&since=/);
  await page.getByRole('row').filter({ hasText: id.slice(-6) }).waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

test('a source has colors, and what it names leads to where that is defined', async () => {
  const watched = await rig.loggedIn('/ui/packs/bill/files/rules/big.yaml');
  const { page } = watched;
  const source = page.getByRole('region', { name: 'Text of rules/big.yaml' });
  const color = (kind: string, text: string): Promise<string> => source.locator(`.${kind}`, { hasText: text }).first().evaluate((one) => getComputedStyle(one).color);
  const colors = [await color('key', 'when'), await color('operator', '>'), await color('identifier', 'payload'), await color('function', 'startsWith')];
  expect(new Set(colors).size).toBe(colors.length);
  await source.getByRole('link', { name: 'bill.invoice' }).click();
  await page.waitForURL('**/ui/packs/bill/files/triggers/invoice.yaml#L1');
  await page.locator('[data-line="1"].chosen').waitFor();
  await watched.expectNoFaults();
  await watched.close();
});
