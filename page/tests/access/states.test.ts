/** What a screen shows while it has nothing to show: no finding of axe, light and dark. Screens that are empty are in `axe.test.ts`. */

import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { findings } from '../support/axe.ts';
import { Watched } from '../support/browser.ts';
import type { Node } from '../support/node.ts';
import { Rig } from '../support/rig.ts';

let node: Node;

const rig = Rig.for('packs', {}, async (started) => {
  node = started;
});

async function expectNoFindings(page: Page, what: string): Promise<void> {
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme });
    expect(await findings(page), `${what}, ${colorScheme}`).toEqual([]);
  }
}

test('a screen that may not be seen says what is missing', async () => {
  const watched = await Watched.open(rig.browser, node.url);
  await watched.page.goto('/ui/keys');
  await watched.logIn(await node.tokenOf('vera', ['viewer']));
  await watched.page.getByText('You are not allowed to see this.').waitFor();
  await expectNoFindings(watched.page, 'not allowed');
  await watched.expectNoFaults();
  await watched.close();
});

test('a list that loads, and one whose node is gone, say so', async () => {
  const watched = await Watched.open(rig.browser, node.url);
  const { page } = watched;
  await page.goto('/ui/rules');
  await watched.logIn(node.token);
  const rules = page.getByRole('row').first();
  await rules.waitFor();
  let release = (): void => undefined;
  const released = new Promise<void>((done) => (release = done));
  await page.route('**/api/v1/executions?*', async (route) => {
    await released;
    await route.continue();
  });
  await page.getByRole('link', { name: 'Executions' }).click();
  await page.getByRole('status').filter({ hasText: 'Loading…' }).waitFor();
  await expectNoFindings(page, 'loading');
  release();
  await page.getByText('Nothing has run yet.').waitFor();
  await expectNoFindings(page, 'empty');
  await page.getByRole('link', { name: 'Rules' }).click();
  await rules.waitFor();
  await node.kill();
  await page.getByText('The connection to the node is broken.').waitFor();
  await rules.waitFor();
  await expectNoFindings(page, 'out of date');
  await page.getByRole('link', { name: 'Executions' }).click();
  await page.getByText('The node cannot be reached.').waitFor();
  await expectNoFindings(page, 'unreachable');
  await node.restart();
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.getByText('Nothing has run yet.').waitFor();
  await watched.close();
});
