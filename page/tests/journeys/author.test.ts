/** What the author of a rule does: ask why it did not match, try another value, try a change. */

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Locator, Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { PHONE } from '../support/browser.ts';
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

/** Returns the text that the editor shows. */
function written(editor: Locator): Promise<string> {
  return editor.evaluate((one) => [...one.querySelectorAll('.cm-line')].map((line) => line.textContent).join('\n'));
}

/** Writes another text over that of the editor, as somebody who types would. */
async function write(page: Page, editor: Locator, text: string): Promise<void> {
  await editor.focus();
  await page.keyboard.press('Control+a');
  await page.keyboard.insertText(text);
}

test('a new event appears in the list by itself, and a filter in the address keeps others out', async () => {
  const watched = await rig.loggedIn('/ui/events');
  const { page } = watched;
  await page.getByRole('heading', { name: 'Events' }).waitFor();
  await page.getByText('No event has come yet.').waitFor();
  await invoice({ id: 'L1', amount: 1 });
  await page.getByRole('row').filter({ hasText: 'bill.invoice' }).waitFor();
  await node.order('L2');
  await page.getByRole('row').filter({ hasText: 'shop.order' }).waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type('trigger:bill.invoice matched:any');
  await page.keyboard.press('Enter');
  await page.waitForURL('**/ui/events?trigger=bill.invoice&matched=any');
  await page.getByRole('row').filter({ hasText: 'shop.order' }).waitFor({ state: 'detached' });
  // The list is empty for a moment while the filter is applied.
  await page.getByRole('row').filter({ hasText: 'bill.invoice' }).waitFor();
  await page.keyboard.press('Escape');
  await page.keyboard.press('j');
  await page.locator('[role="row"] a:focus').waitFor();
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'bill.invoice' }).waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

test('a rule did not match, and the field that would flip it is marked', async () => {
  const id = await invoice({ id: 'A1', amount: 90.5 });
  const watched = await rig.loggedIn(`/ui/events/${id}`);
  const { page } = watched;
  const rule = page.locator('[data-rule="bill.big"]');
  await rule.locator('summary').getByText('did not match').waitFor();
  const payload = page.getByRole('group', { name: 'Payload' });
  const amount = payload.locator('[data-field="amount"]');
  const name = payload.locator('[data-field="id"]');
  await amount.getByText('would flip bill.big').waitFor();
  expect(await name.innerText()).not.toContain('would flip');
  // Each part has its value in a shape and a word.
  const part = rule.getByRole('list', { name: 'Condition' }).getByRole('button', { name: 'event.payload.amount > 100.0' });
  const line = part.locator('..');
  expect(await line.innerText()).toMatch(/false/);
  expect(await line.innerText()).toContain('event.payload.amount = 90.5');
  expect(await rule.getByText('To match:').locator('..').innerText()).toMatch(/event\.payload\.amount > 100\.0\s+would have to be true/);
  // The focus on a part marks the field, and the other way about.
  const isMarked = (element: typeof amount): Promise<boolean> => element.evaluate((one) => one.classList.contains('marked'));
  await part.focus();
  expect([await isMarked(amount), await isMarked(name)]).toEqual([true, false]);
  await name.getByRole('button').focus();
  expect([await isMarked(amount), await isMarked(line)]).toEqual([false, false]);
  await amount.getByRole('button').hover();
  expect(await isMarked(line)).toBe(true);
  // What is not there is marked where it would be.
  const note = payload.locator('[data-field="note"]');
  expect(await note.innerText()).toMatch(/not there[\s\S]*would flip bill\.noted/);
  await page.locator('[data-rule="bill.noted"] summary').getByText('erred').waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

test('another value is tried, and the verdict changes', async () => {
  const id = await invoice({ id: 'A2', amount: 90.5 });
  const watched = await rig.loggedIn(`/ui/events/${id}?rule=bill.big`);
  const { page } = watched;
  const rule = page.locator('[data-rule="bill.big"]');
  await rule.getByRole('button', { name: 'Try another value' }).click();
  const answer = rule.locator('[data-answer]');
  await answer.getByText('It would not match').waitFor();
  let asked = 0;
  page.on('request', (request) => {
    if (request.url().endsWith('/explain')) asked += 1;
  });
  // The clock of the page is stopped while the keys are typed.
  await page.clock.install();
  await page.clock.pauseAt(Date.now() + 60_000);
  await rule.getByLabel('amount', { exact: true }).fill('');
  await rule.getByLabel('amount', { exact: true }).pressSequentially('120.5');
  await page.clock.runFor(190);
  expect(asked).toBe(0);
  await page.clock.runFor(20);
  await page.clock.resume();
  await answer.getByText('It would match').waitFor();
  // One request for all keys, after the last of them.
  expect(asked).toBe(1);
  await rule.getByText('It would run core.echo with').waitFor();
  await rule.getByLabel('id', { exact: true }).fill('B2');
  await answer.getByText('It would not match').waitFor();
  // A text in a field for numbers is reported at the field, and so is what else the trigger does not allow.
  await rule.getByLabel('amount', { exact: true }).fill('many');
  await rule.getByText('This is not a number.').waitFor();
  expect(await rule.getByLabel('amount', { exact: true }).getAttribute('aria-invalid')).toBe('true');
  await rule.getByText('The payload as JSON').click();
  await rule.getByRole('textbox', { name: 'The payload as JSON' }).fill('{"id": "A2", "amount": "many"}');
  await rule.getByText('should be number, but is a string').first().waitFor();
  expect(await rule.getByLabel('amount', { exact: true }).getAttribute('aria-invalid')).toBe('true');
  await rule.getByRole('button', { name: 'As received' }).click();
  await answer.getByText('It would not match').waitFor();
  // Nothing was recorded.
  expect((await node.ask<{ matched: number }>('GET', `/events/${id}`)).matched).toBe(1);
  await watched.expectNoFaults();
  await watched.close();
});

test('a changed rule is backtested, and the difference opens why', async () => {
  const id = await invoice({ id: 'A3', amount: 60.5 });
  const watched = await rig.loggedIn('/ui/rules');
  const { page } = watched;
  await page.getByRole('row').filter({ hasText: 'bill.big' }).getByRole('link').click();
  await page.getByRole('link', { name: 'Try a change' }).click();
  const editor = page.getByLabel('Edit rules/big.yaml');
  await page.getByText('The check finds nothing.').waitFor();
  await write(page, editor, (await written(editor)).replace('> 100.0', '> 50.0'));
  await page.getByText('The check finds nothing.').waitFor();
  await page.getByRole('button', { name: 'Backtest' }).click();
  const row = page.getByRole('table', { name: 'Difference' }).getByRole('row').filter({ hasText: id.slice(-6) });
  await row.waitFor();
  expect(await row.innerText()).toMatch(/\+\s*new[\s\S]*not matched[\s\S]*acted on/);
  expect(await page.getByRole('table', { name: 'Matches by outcome' }).innerText()).toMatch(/acted on/);
  // A further change makes the answer one about an earlier text.
  await write(page, editor, (await written(editor)).replace('> 50.0', '> 55.0'));
  await page.getByText('This is the backtest of an earlier text.').waitFor();
  // The difference is explained with the change, as it is now.
  await row.getByRole('link').click();
  await page.waitForURL(`**/ui/rules/bill.big?tab=try&event=${id}`);
  const changed = page.getByRole('region', { name: 'Why, with this change' });
  await changed.locator('[data-changed]').getByText('It would match').waitFor();
  expect(await changed.locator('[data-changed]').innerText()).toContain('Was: not matched');
  await changed.getByRole('button', { name: 'event.payload.amount > 55.0' }).first().waitFor();
  await write(page, editor, (await written(editor)).replace('> 55.0', '> 65.0'));
  await changed.locator('[data-changed]').getByText('It would not match').waitFor();
  await changed.getByText('To match:').waitFor();
  await write(page, editor, (await written(editor)).replace('> 65.0', '> 55.0'));
  // The event itself says why it did not match by the installed rule.
  await changed.getByRole('link', { name: id.slice(-6) }).click();
  await page.waitForURL(`**/ui/events/${id}?rule=bill.big`);
  await page.locator('[data-rule="bill.big"][open]').getByText('To match:').waitFor();
  // The change is still there.
  await page.goBack();
  await page.getByLabel('Edit rules/big.yaml').waitFor();
  expect(await written(page.getByLabel('Edit rules/big.yaml'))).toContain('> 55.0');
  await watched.expectNoFaults();
  await watched.close();
});

test('a change is taken away as a patch that git applies', async () => {
  const watched = await rig.loggedIn('/ui/rules/bill.big?tab=try');
  const { page } = watched;
  const editor = page.getByLabel('Edit rules/big.yaml');
  await editor.waitFor();
  const changed = (await written(editor)).replace('> 100.0', '> 50.0').replace('description: Says', 'description: It says');
  await write(page, editor, changed);
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Download the patch' }).click()]);
  expect(download.suggestedFilename()).toBe('bill.big.patch');
  const folder = mkdtempSync(join(tmpdir(), 'ensue-patch-'));
  try {
    mkdirSync(join(folder, 'rules'));
    writeFileSync(join(folder, 'rules/big.yaml'), readFileSync(resolve(import.meta.dirname, '../packs/bill/rules/big.yaml')));
    const patch = join(folder, 'bill.patch');
    await download.saveAs(patch);
    execFileSync('git', ['apply', patch], { cwd: folder });
    expect(readFileSync(join(folder, 'rules/big.yaml'), 'utf8')).toBe(changed);
  } finally {
    rmSync(folder, { recursive: true });
  }
  await watched.expectNoFaults();
  await watched.close();
});

test('a file with an error shows the finding at its line', async () => {
  const watched = await rig.loggedIn('/ui/rules/bill.big?tab=try');
  const { page } = watched;
  const editor = page.getByLabel('Edit rules/big.yaml');
  await editor.waitFor();
  await write(page, editor, (await written(editor)).replace('payload.amount', 'payload.amont'));
  await page.getByText('there is no amont in the payload').waitFor();
  // The mark is beside the third line, and under what is wrong in it.
  await page.locator('.cm-line').nth(2).locator('.found-error').getByText('event.payload.amont', { exact: true }).waitFor();
  const marks = page.locator('.found .found-error');
  const top = (one: Locator): Promise<number> => one.evaluate((element) => Math.round(element.getBoundingClientRect().top));
  await expect.poll(async () => (await top(marks.first())) - (await top(page.locator('.cm-line').nth(2)))).toBe(0);
  expect(await marks.count()).toBe(1);
  expect(await page.getByRole('button', { name: 'Backtest' }).isDisabled()).toBe(true);
  await page.getByRole('button', { name: 'Line 3' }).click();
  // What is typed replaces what the finding is about.
  await page.keyboard.insertText('event.payload.amount');
  await page.getByText('The check finds nothing.').waitFor();
  expect(await written(editor)).toContain('when: event.payload.amount > 100.0');
  await page.keyboard.press('Control+z');
  await page.getByText('there is no amont in the payload').waitFor();
  await page.getByRole('button', { name: 'As installed' }).click();
  await page.getByText('The check finds nothing.').waitFor();
  // The installed files have their findings in the text.
  await page.goto('/ui/packs/bill');
  await page.getByRole('link', { name: 'rules/noted.yaml:3' }).click();
  await page.waitForURL('**/ui/packs/bill/files/rules/noted.yaml#L3');
  const finding = page.locator('[data-found="3"]');
  expect(await finding.innerText()).toContain('may be missing');
  expect(await finding.evaluate((one) => one.previousElementSibling?.getAttribute('data-line'))).toBe('3');
  await watched.expectNoFaults();
  await watched.close();
});

test('keys of the page do nothing in the editor, and Tab leaves it after Escape', async () => {
  const watched = await rig.loggedIn('/ui/rules/bill.big?tab=try');
  const { page } = watched;
  const editor = page.getByLabel('Edit rules/big.yaml');
  await editor.waitFor();
  await editor.focus();
  await page.keyboard.press('Control+Home');
  await page.keyboard.press('Tab');
  await expect.poll(() => written(editor)).toMatch(/^  description/);
  await page.keyboard.type('# gn? ');
  await expect.poll(() => written(editor)).toMatch(/^  # gn\? description/);
  // No finding is there to which Tab could go instead.
  await page.getByText('The check finds nothing.').waitFor();
  const isIn = (): Promise<boolean> => page.locator('.host').evaluate((host) => host === document.activeElement);
  await page.keyboard.press('Escape');
  await page.getByText('Tab leaves the editor now.').waitFor();
  expect(await isIn()).toBe(true);
  await page.keyboard.press('Tab');
  expect(await isIn()).toBe(false);
  await page.getByText('To leave the editor, press Escape, then Tab.').waitFor();
  // Back in it, Tab indents again.
  await page.keyboard.press('Shift+Tab');
  expect(await isIn()).toBe(true);
  await page.keyboard.press('Tab');
  await expect.poll(() => written(editor)).toMatch(/^    # gn\? description/);
  expect(new URL(page.url()).pathname).toBe('/ui/rules/bill.big');
  await page.getByRole('button', { name: 'As installed' }).click();
  await expect.poll(() => written(editor)).toMatch(/^description/);
  await watched.expectNoFaults();
  await watched.close();
});

test('a rule is put in shadow mode and enabled again, each with what that means', async () => {
  const watched = await rig.loggedIn('/ui/rules/bill.big');
  const { page } = watched;
  await page.getByRole('button', { name: 'Shadow' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('its action does not run').waitFor();
  await dialog.getByRole('button', { name: 'Shadow' }).click();
  await dialog.waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Enable' }).waitFor();
  const id = await invoice({ id: 'A4', amount: 500.5 });
  await page.getByRole('link', { name: 'Shadow' }).click();
  const row = page.getByRole('row').filter({ hasText: id.slice(-6) });
  await row.waitFor();
  expect(await row.innerText()).toContain('only observed');
  await page.getByRole('button', { name: 'Enable' }).click();
  await dialog.getByRole('button', { name: 'Enable' }).click();
  await dialog.waitFor({ state: 'detached' });
  expect(await node.ask('GET', '/rules/bill.big')).toMatchObject({ mode: 'enabled' });
  await watched.expectNoFaults();
  await watched.close();
});

test('a viewer sees the rules and no button that would be refused', async () => {
  const id = await invoice({ id: 'A5', amount: 1.5 });
  const watched = await rig.loggedIn('/ui/rules/bill.big', await node.tokenOf('vera', ['viewer']));
  const { page } = watched;
  await page.getByRole('heading', { name: 'bill.big' }).waitFor();
  expect(await page.getByRole('button', { name: /^(Enable|Shadow|Disable)$/ }).count()).toBe(0);
  const refused: string[] = [];
  page.on('response', (response) => {
    if (response.status() === 403) refused.push(response.url());
  });
  for (const path of ['/ui/rules/bill.big?tab=try', '/ui/rules/bill.any?tab=shadow', `/ui/events/${id}`, `/ui/trace/${id}`, '/ui/packs/bill']) {
    await page.goto(path);
    await page.locator('main h1').waitFor();
    await page.waitForTimeout(400);
  }
  expect(refused).toEqual([]);
  await watched.expectNoFaults();
  await watched.close();
});

test('a trace shows what an event led to, and grows with it', async () => {
  await node.order('T1');
  const { id, parent } = await node.question('T1');
  const { event } = await node.ask<{ event: string }>('GET', `/executions/${parent}`);
  const watched = await rig.loggedIn(`/ui/events/${event}`);
  const { page } = watched;
  await page.getByRole('heading', { name: 'What followed' }).waitFor();
  await page.getByRole('link', { name: 'step approve: core.inquiry' }).waitFor();
  await page.keyboard.press('w');
  await page.waitForURL(`**/ui/trace/${event}`);
  await page.getByRole('link', { name: 'event shop.order from api' }).waitFor();
  await page.getByRole('link', { name: 'rule shop.ship matched' }).waitFor();
  expect(await page.getByRole('link', { name: 'step deploy: shop.print' }).count()).toBe(0);
  const shipper = await node.tokenOf('sam', ['shippers', 'approver']);
  const headers = { authorization: `Bearer ${shipper}`, 'content-type': 'application/json' };
  const { digest } = await node.ask<{ digest: string }>('GET', `/inquiries/${id}`);
  const body = JSON.stringify({ answer: { ship: true }, digest });
  const answered = await fetch(`${node.url}/api/v1/inquiries/${id}/respond`, { method: 'POST', headers, body });
  expect(answered.ok).toBe(true);
  const step = page.getByRole('listitem').filter({ hasText: 'step deploy: shop.print' }).last();
  await step.getByText('succeeded').waitFor();
  expect(await step.innerText()).toMatch(/in [\d.]+ m?s/);
  await page.getByRole('link', { name: 'step deploy: shop.print' }).click();
  await page.getByRole('heading', { name: 'shop.print' }).waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

test('a phone shows why a rule did not match', async () => {
  const id = await invoice({ id: 'A6', amount: 2.5 });
  const watched = await rig.loggedIn(`/ui/events/${id}?rule=bill.big`, node.token, PHONE);
  const { page } = watched;
  const rule = page.locator('[data-rule="bill.big"]');
  await rule.getByText('To match:').waitFor();
  await rule.getByRole('list', { name: 'Condition' }).getByRole('button', { name: 'event.payload.amount > 100.0' }).tap();
  const amount = page.locator('[data-field="amount"]');
  await expect.poll(() => amount.evaluate((one) => one.classList.contains('marked'))).toBe(true);
  const isInView = (one: Element) => one.getBoundingClientRect().top >= 0 && one.getBoundingClientRect().bottom <= innerHeight;
  await expect.poll(() => amount.evaluate(isInView)).toBe(true);
  await watched.expectNoFaults();
  await watched.close();
});
