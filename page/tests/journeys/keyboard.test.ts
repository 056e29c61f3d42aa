/** Whole journeys without a mouse. Where the focus is, is part of what they assert. */

import type { Locator, Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { Watched } from '../support/browser.ts';
import type { Node } from '../support/node.ts';
import { Rig } from '../support/rig.ts';

/** No screen has more places to stop at before what one came for. */
const TABS_MAX = 60;

let node: Node;

const rig = Rig.for('packs', {}, async (started) => {
  node = started;
  await node.ask('PUT', '/roles/shippers', { permissions: ['inquiries:read', 'inquiries:answer'] });
});

const isFocused = (wanted: Locator): Promise<boolean> => wanted.evaluate((element) => element === document.activeElement);

/** Presses `Tab` until an element has the focus. */
async function tabTo(page: Page, wanted: Locator): Promise<void> {
  await wanted.waitFor();
  for (let presses = 0; presses < TABS_MAX; presses += 1) {
    if (await isFocused(wanted)) return;
    await page.keyboard.press('Tab');
  }
  throw new Error(`${TABS_MAX} presses of Tab do not lead to ${String(wanted)}`);
}

/** Logs in without a mouse. */
async function typedIn(path: string, token: string): Promise<Watched> {
  const watched = await Watched.open(rig.browser, node.url);
  const { page } = watched;
  await page.goto(path);
  await tabTo(page, page.getByLabel('Token'));
  await page.keyboard.type(token);
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Log in' }).waitFor({ state: 'detached' });
  return watched;
}

/** Moves down a list with `j` until a row has the focus. */
async function rowTo(page: Page, row: Locator): Promise<void> {
  await row.waitFor();
  for (let presses = 0; presses < TABS_MAX; presses += 1) {
    await page.keyboard.press('j');
    // The row is focused once it is drawn.
    await expect.poll(() => page.evaluate(() => document.activeElement?.closest('[role="row"]') !== null)).toBe(true);
    if (await isFocused(row)) return;
  }
  throw new Error(`j does not lead to ${String(row)}`);
}

test('a question is found and answered by keyboard alone', async () => {
  await node.order('T1');
  const { id } = await node.question('T1');
  const watched = await typedIn('/ui/', await node.tokenOf('maria', ['shippers', 'approver']));
  const { page } = watched;
  await page.waitForURL('**/ui/inbox');
  await rowTo(page, page.locator(`#row-${id}`));
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Ship T1?' }).waitFor();
  await tabTo(page, page.getByLabel('Yes'));
  await page.keyboard.press('Space');
  expect(await page.getByLabel('Yes').isChecked()).toBe(true);
  await tabTo(page, page.getByLabel('note (optional)'));
  // Letters in a field are text, not keys of the screen.
  await page.keyboard.type('jack gave his ok');
  await tabTo(page, page.getByRole('button', { name: 'Answer and decide' }));
  await page.keyboard.press('Enter');
  await page.getByText('Your answer decided it.').waitFor();
  expect(await node.ask('GET', `/inquiries/${id}`)).toMatchObject({ answer: { ship: true, note: 'jack gave his ok' } });
  await page.keyboard.press('Escape');
  await page.waitForURL('**/ui/inbox');
  await watched.expectNoFaults();
  await watched.close();
});

test('an execution is found by a filter, looked at and canceled by keyboard alone', async () => {
  await node.order('T2');
  const { parent } = await node.question('T2');
  const watched = await typedIn('/ui/me', node.token);
  const { page } = watched;
  await page.getByRole('heading', { name: 'admin' }).waitFor();
  await page.keyboard.press('g');
  await page.keyboard.press('x');
  await page.waitForURL('**/ui/executions');
  await page.getByRole('row').first().waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type('status:waiting label:order=T2');
  await page.keyboard.press('Enter');
  await page.waitForURL('**/ui/executions?status=waiting&label=order%3DT2');
  await expect.poll(() => page.getByRole('row').count()).toBe(1);
  await page.keyboard.press('Escape');
  await rowTo(page, page.locator(`#row-${parent}`));
  await page.keyboard.press('Enter');
  await page.waitForURL(`**/ui/executions/${parent}`);
  await tabTo(page, page.getByRole('link', { name: 'Graph' }));
  await page.keyboard.press('Enter');
  await page.getByRole('region', { name: 'Graph' }).waitFor();
  await page.keyboard.press('c');
  const dialog = page.getByRole('dialog');
  await dialog.waitFor();
  expect(await dialog.evaluate((box) => box.contains(document.activeElement))).toBe(true);
  await tabTo(page, dialog.getByRole('button', { name: 'Cancel the execution' }));
  await page.keyboard.press('Enter');
  await dialog.waitFor({ state: 'detached' });
  await expect.poll(async () => (await node.ask<{ status: string }>('GET', `/executions/${parent}`)).status).toBe('cancelled');
  await page.getByText('canceled').first().waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

test('a rule that did not match is explained, and another value is tried, by keyboard alone', async () => {
  const { id } = await node.ask<{ id: string }>('POST', '/events', { trigger: 'bill.invoice', payload: { id: 'A3', amount: 1.5 } });
  const watched = await typedIn('/ui/me', node.token);
  const { page } = watched;
  await page.getByRole('heading', { name: 'admin' }).waitFor();
  await page.keyboard.press('g');
  await page.keyboard.press('e');
  await page.waitForURL('**/ui/events');
  await rowTo(page, page.locator(`#row-${id}`));
  await page.keyboard.press('Enter');
  await page.waitForURL(`**/ui/events/${id}`);
  const rule = page.locator('[data-rule="bill.big"]');
  await tabTo(page, rule.getByRole('list', { name: 'Condition' }).getByRole('button', { name: 'event.payload.amount > 100.0' }));
  await expect.poll(() => page.locator('[data-field="amount"]').first().evaluate((field) => field.classList.contains('marked'))).toBe(true);
  await tabTo(page, rule.getByRole('button', { name: 'Try another value' }));
  await page.keyboard.press('Enter');
  await tabTo(page, rule.getByLabel('amount', { exact: true }));
  await page.keyboard.press('Control+a');
  await page.keyboard.type('120.5');
  await rule.locator('[data-answer]').getByText('It would match').waitFor();
  await watched.expectNoFaults();
  await watched.close();
});
