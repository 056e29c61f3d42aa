import { expect, test } from 'vitest';
import type { Node } from '../support/node.ts';
import { Rig } from '../support/rig.ts';

let node: Node;

const rig = Rig.for('packs', {}, async (started) => {
  node = started;
});

test('a new execution appears in the list by itself, and opens with its steps, output and data', async () => {
  const watched = await rig.loggedIn('/ui/executions');
  const { page } = watched;
  await page.getByText('Nothing has run yet.').waitFor();
  await node.ask('POST', '/actions/shop.print/execute', { params: { text: 'hello', lines: 2 } });
  const row = page.getByRole('row').filter({ hasText: 'shop.print' });
  await row.waitFor();
  await page.keyboard.press('j');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'shop.print' }).waitFor();
  await page.getByRole('link', { name: 'Output' }).click();
  await page.getByRole('region', { name: 'Standard output' }).getByText('line 2').waitFor();
  expect(await page.locator('.printed .green').textContent()).toBe('green');
  await page.getByText('␛]52;c;aGVsbG8=␇').first().waitFor();
  await page.getByRole('link', { name: 'Params & result' }).click();
  await page.getByText('"lines": 2').waitFor();
  await page.keyboard.press('Escape');
  await watched.expectNoFaults();
  await watched.close();
});

test('what is printed last is shown, although the news of the end comes first', async () => {
  const watched = await rig.loggedIn('/ui/executions');
  const { page } = watched;
  let release = (): void => undefined;
  const hasEnded = new Promise<void>((done) => (release = done));
  await page.route('**/logs?follow=true*', async (route) => {
    await hasEnded;
    await route.continue();
  });
  const { id } = await node.ask<{ id: string }>('POST', '/actions/mill.finish/execute', { params: {} });
  await page.goto(`${node.url}/ui/executions/${id}?tab=output`);
  await page.getByText('the mill turns').waitFor();
  await page.getByText('succeeded', { exact: true }).first().waitFor();
  release();
  await page.getByText('the mill stops').waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

test('a filter is in the address, and survives going back', async () => {
  await node.order('B1');
  const { parent } = await node.question('B1');
  const watched = await rig.loggedIn('/ui/executions');
  const { page } = watched;
  await page.getByRole('row').first().waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type('status:waiting action:shop.ship');
  await page.keyboard.press('Enter');
  await page.waitForURL('**/ui/executions?status=waiting&action=shop.ship');
  await page.getByRole('row').first().getByRole('link').click();
  await page.waitForURL(`**/ui/executions/${parent}`);
  await page.getByText('approve', { exact: true }).waitFor();
  await page.goBack();
  await page.waitForURL('**/ui/executions?status=waiting&action=shop.ship');
  await page.getByRole('row').first().waitFor();
  expect(await page.evaluate(() => document.activeElement?.id)).toBe(`row-${parent}`);
  await watched.expectNoFaults();
  await watched.close();
});

test('a link leads nowhere else after the login', async () => {
  for (const next of ['//evil.test', 'https://evil.test', '/\\evil.test', 'javascript:alert(1)']) {
    const watched = await rig.loggedIn(`/ui/login?next=${encodeURIComponent(next)}`);
    await watched.page.waitForURL(`${node.url}/ui/**`);
    await watched.expectNoFaults();
    await watched.close();
  }
});
