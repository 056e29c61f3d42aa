/** The page in German. */

import { expect, test } from 'vitest';
import { Watched } from '../support/browser.ts';
import type { Node } from '../support/node.ts';
import { Rig } from '../support/rig.ts';

let node: Node;

const rig = Rig.for('packs', {}, async (started) => {
  node = started;
});

test('a browser in German shows the page in German, and its dates and numbers', async () => {
  await node.order('G1');
  const watched = await Watched.open(rig.browser, node.url, { locale: 'de-AT' });
  const { page } = watched;
  await page.goto('/ui/executions');
  await page.getByLabel('Token').fill(node.token);
  await page.getByRole('button', { name: 'Anmelden' }).click();
  await page.getByRole('heading', { name: 'Ausführungen' }).waitFor();
  expect(await page.evaluate(() => document.documentElement.lang)).toBe('de');
  await page.getByRole('navigation', { name: 'Menü' }).getByRole('link', { name: 'Ereignisse' }).click();
  await page.getByRole('heading', { name: 'Ereignisse' }).waitFor();
  expect(await page.title()).toBe('Ereignisse · Ensue');
  await page.getByRole('row').getByText(/vor \d/).first().waitFor();
  await page.keyboard.press('t');
  await page.getByRole('row').getByText(/\d\d\.\d\d\.\d{4}, \d\d:\d\d:\d\d/).first().waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

test('the reader changes the language without a new load, and the browser remembers it', async () => {
  const watched = await Watched.open(rig.browser, node.url, { locale: 'en-US' });
  const { page } = watched;
  const german: string[] = [];
  page.on('request', (request) => {
    if (/\/de-\w+\.js$/.test(request.url())) german.push(request.url());
  });
  await page.goto('/ui/me');
  await watched.logIn(node.token);
  const language = page.getByRole('combobox').first();
  await page.getByRole('heading', { name: 'Sessions' }).waitFor();
  expect(german, 'who reads English loads no German').toEqual([]);
  await page.evaluate(() => Object.assign(globalThis, { isSameLoad: true }));
  await page.getByLabel('Language').selectOption('Deutsch');
  await page.getByRole('heading', { name: 'Sitzungen' }).waitFor();
  await page.getByRole('link', { name: 'Regeln' }).waitFor();
  expect(await page.evaluate(() => [document.documentElement.lang, 'isSameLoad' in globalThis])).toEqual(['de', true]);
  await page.reload();
  await page.getByRole('heading', { name: 'Sitzungen' }).waitFor();
  await page.getByLabel('Sprache').selectOption('English');
  await page.getByRole('heading', { name: 'Sessions' }).waitFor();
  expect(await language.inputValue()).toBe('en');
  await watched.expectNoFaults();
  await watched.close();
});
