import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import type { Node } from '../support/node.ts';
import { Rig } from '../support/rig.ts';

let node: Node;
/** An operator whom inquiries of leads ask, and somebody who may only look. */
let operator: string;
let viewer: string;

interface Execution {
  id: string;
  status: string;
  waits_for: { kind: string } | null;
}


const rig = Rig.for('night', {}, async (started) => {
  node = started;
  [operator, viewer] = await Promise.all([node.tokenOf('olga', ['operator', 'leads']), node.tokenOf('vera', ['viewer'])]);
});

async function run(action: string, params: object = {}): Promise<string> {
  return (await node.ask<Execution>('POST', `/actions/${action}/execute`, { params })).id;
}

/** Waits until an execution, or a step of it, waits for something. Returns the one that does. */
async function waiting(id: string, kind: string): Promise<string> {
  return node.until(async () => {
    const [one, steps] = await Promise.all([
      node.ask<Execution>('GET', `/executions/${id}`),
      node.ask<{ items: Execution[] }>('GET', `/executions?parent=${id}`),
    ]);
    return [one, ...steps.items].find((execution) => execution.waits_for?.kind === kind)?.id;
  });
}

/** The row of an execution in the list of what is stuck. */
const rowOf = (page: Page, id: string) => page.getByRole('listitem').filter({ has: page.locator(`#row-${id}`) });

test('an operator without questions starts at what happens now, and a person who is only asked does not see it', async () => {
  const watched = await rig.loggedIn('/ui/', operator);
  await watched.page.waitForURL('**/ui/now');
  await watched.page.getByText('Nothing is stuck.').waitFor();
  await watched.page.getByText('Nothing needs a person.').waitFor();
  await watched.page.getByText('Nothing failed.').waitFor();
  await watched.close();
  const asked = await rig.loggedIn('/ui/', await node.tokenOf('lea', ['leads']));
  await asked.page.waitForURL('**/ui/inbox');
  expect(await asked.page.getByRole('link', { name: 'Now' }).count()).toBe(0);
  await asked.expectNoFaults();
  await asked.close();
});

test('an operator finds what waits for an answer, and answers it', async () => {
  const step = await waiting(await run('night.ask'), 'answer');
  const watched = await rig.loggedIn('/ui/now', operator);
  const { page } = watched;
  const row = rowOf(page, step);
  await row.getByText('waits for an answer').waitFor();
  await row.getByText('Go on with the release?').waitFor();
  await row.getByText('night.ask').waitFor();
  await row.getByRole('link', { name: 'Answer' }).click();
  await page.getByRole('heading', { name: 'Go on with the release?' }).waitFor();
  await page.getByLabel('Yes').check();
  await page.getByRole('button', { name: 'Answer and decide' }).click();
  await node.until(async () => ((await node.ask<Execution>('GET', `/executions/${step}`)).status === 'succeeded' ? true : undefined));
  await page.goto('/ui/now');
  await page.getByRole('heading', { name: 'Stuck' }).waitFor();
  await expect.poll(() => row.count()).toBe(0);
  await watched.expectNoFaults();
  await watched.close();
});

test('an operator finds what waits for a lock, and cancels what holds it', async () => {
  const holder = await run('night.deploy', { site: 'eu' });
  await waiting(holder, 'steps');
  const next = await waiting(await run('night.deploy', { site: 'eu' }), 'lock');
  const watched = await rig.loggedIn('/ui/now', operator);
  const { page } = watched;
  const row = rowOf(page, next);
  await row.getByText('waits for the lock of night.deploy').waitFor();
  await row.getByRole('button', { name: 'Cancel the holder…' }).click();
  await page.getByRole('dialog').getByText('site=eu').waitFor();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel this holder' }).click();
  await node.until(async () => ((await node.ask<Execution>('GET', `/executions/${holder}`)).status === 'cancelled' ? true : undefined));
  await waiting(next, 'steps');
  await page.keyboard.press('Escape');
  await expect.poll(() => row.count()).toBe(0);
  await watched.expectNoFaults();
  await watched.close();
});

test('an operator finds what waits for a worker, and sees that its queue has none', async () => {
  const first = await waiting(await run('night.report'), 'worker');
  await waiting(await run('night.report'), 'worker');
  const watched = await rig.loggedIn('/ui/now', operator);
  const { page } = watched;
  const row = rowOf(page, first);
  await row.getByText('waits for a worker of the queue reports').waitFor();
  await row.getByText('1 other waits for the same').waitFor();
  await row.getByRole('link', { name: 'See the queue' }).click();
  await page.waitForURL('**/ui/waiting?kind=queue#queue-reports');
  await page.getByText('No setting gives this queue workers').waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

test('an operator finds what retries, and sees why it failed', async () => {
  const id = await waiting(await run('night.flaky'), 'retry');
  const watched = await rig.loggedIn('/ui/now', operator);
  const { page } = watched;
  const row = rowOf(page, id);
  await row.getByText('waits for its next attempt').waitFor();
  await row.getByText('next attempt in ').waitFor();
  await row.getByRole('link', { name: 'See the attempts' }).click();
  await page.getByText('connection refused', { exact: true }).waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

test('an operator finds what is paused, and resumes it', async () => {
  const id = await run('night.deploy', { site: 'us' });
  await waiting(id, 'steps');
  await node.ask('POST', `/executions/${id}/pause`, {});
  const watched = await rig.loggedIn('/ui/now', operator);
  const { page } = watched;
  const row = rowOf(page, id);
  await row.getByText('is paused until somebody resumes it').waitFor();
  await row.getByRole('button', { name: 'Resume' }).click();
  await expect.poll(() => row.count()).toBe(0);
  await waiting(id, 'steps');
  await watched.expectNoFaults();
  await watched.close();
});

test('an operator finds what waits for an event, and sees the step that does', async () => {
  const step = await waiting(await run('night.await'), 'event');
  const watched = await rig.loggedIn('/ui/now', operator);
  const { page } = watched;
  const row = rowOf(page, step);
  await row.getByText('waits for an event').waitFor();
  await row.getByRole('link', { name: 'See the execution' }).click();
  await page.getByText('Waits for an event').waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

test('an operator finds an execution whose outcome nobody knows, and settles it', async () => {
  const id = await run('night.pay');
  await node.until(async () => {
    const { items } = await node.ask<{ items: { text: string }[] }>('GET', `/executions/${id}/logs`);
    return items.find((output) => output.text.includes('charging'));
  });
  await node.loseWorkers();
  await waiting(id, 'settling');
  const watched = await rig.loggedIn('/ui/now', operator);
  const { page } = watched;
  await page.getByRole('link', { name: '1 unknown outcome' }).waitFor();
  const row = rowOf(page, id);
  await row.getByText('has an unknown outcome').waitFor();
  await row.getByRole('button', { name: 'Settle…' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('charging the card').waitFor();
  await dialog.getByText('It may have begun.').waitFor();
  const settle = dialog.getByRole('button', { name: 'Settle the outcome' });
  expect(await settle.isDisabled()).toBe(true);
  await dialog.getByLabel('It did not take effect: do not try again').check();
  expect(await settle.isDisabled()).toBe(true);
  await dialog.getByRole('textbox', { name: 'Reason' }).fill('the bank has no such charge');
  await settle.click();
  await dialog.waitFor({ state: 'detached' });
  await expect.poll(() => row.count()).toBe(0);
  expect(await node.ask<{ status: string; error: { message: string } }>('GET', `/executions/${id}`)).toMatchObject({
    status: 'failed',
    error: { message: 'the bank has no such charge' },
  });
  await watched.expectNoFaults();
  await watched.close();
});

test('failures with the same cause are one group, with the last lines that they printed', async () => {
  for (const order of ['A1', 'A2']) await run('night.broken', { order });
  await node.until(async () => ((await node.ask<{ items: unknown[] }>('GET', '/executions?status=failed&action=night.broken')).items.length === 2 ? true : undefined));
  const watched = await rig.loggedIn('/ui/now', operator);
  const { page } = watched;
  const group = page.getByRole('group').filter({ hasText: 'night.broken' });
  await group.getByText('2 failures').waitFor();
  await group.scrollIntoViewIfNeeded();
  await group.getByText(/reading the order A\d\s+no route to the warehouse/).waitFor();
  await group.getByRole('link', { name: 'See them' }).click();
  await expect.poll(() => page.getByRole('row').count()).toBe(2);
  await watched.expectNoFaults();
  await watched.close();
});

test('a rule that errs is on the screen with its error', async () => {
  await node.ask('POST', '/events', { trigger: 'night.alert', payload: { id: 'E1' } });
  const watched = await rig.loggedIn('/ui/now', operator);
  await watched.page.getByText('night.size').first().waitFor();
  await watched.page.getByText('1 error, last').waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

test('a viewer sees what is stuck, and no button that would be refused', async () => {
  const paused = await run('night.deploy', { site: 'ap' });
  await waiting(paused, 'steps');
  const blocked = await waiting(await run('night.deploy', { site: 'ap' }), 'lock');
  await node.ask('POST', `/executions/${paused}/pause`, {});
  const watched = await rig.loggedIn('/ui/now', viewer);
  const { page } = watched;
  await rowOf(page, paused).getByRole('link', { name: 'See the execution' }).waitFor();
  await rowOf(page, blocked).getByRole('link', { name: 'See the lock' }).waitFor();
  expect(await page.getByRole('main').getByRole('button').filter({ hasNot: page.locator('[data-icon="copy"]') }).count()).toBe(0);
  await rowOf(page, blocked).getByRole('link', { name: 'See the lock' }).click();
  await page.getByText('site=ap').first().waitFor();
  expect(await page.getByRole('main').getByRole('button').filter({ hasNot: page.locator('[data-icon="copy"]') }).count()).toBe(0);
  await watched.expectNoFaults();
  await watched.close();
});

test('a caller who may act on some executions sees buttons for those only', async () => {
  const id = await run('night.deploy', { site: 'sa' });
  await waiting(id, 'steps');
  await node.ask('POST', `/executions/${id}/pause`, {});
  const scopes = ['node:read', 'executions:read', 'executions:pause on action=night.other'];
  const { token } = await node.ask<{ token: string }>('POST', '/tokens', { name: 'limited', scopes });
  const watched = await rig.loggedIn('/ui/now', token);
  const { page } = watched;
  await rowOf(page, id).getByRole('link', { name: 'See the execution' }).waitFor();
  expect(await page.getByRole('button', { name: 'Resume' }).count()).toBe(0);
  await watched.expectNoFaults();
  await watched.close();
});

test('rows are reached by the keyboard, and going back focuses the row that one came from', async () => {
  const watched = await rig.loggedIn('/ui/now', operator);
  const { page } = watched;
  await page.locator('[data-row]').nth(1).waitFor();
  await page.keyboard.press('j');
  await page.keyboard.press('j');
  const id = await page.evaluate(() => document.activeElement?.id);
  expect(id).toBe(await page.locator('[data-row]').nth(1).getAttribute('id'));
  await page.keyboard.press('Enter');
  await page.waitForURL('**/ui/executions/*');
  await page.goBack();
  await expect.poll(() => page.evaluate(() => document.activeElement?.id)).toBe(id);
  await page.keyboard.press('g');
  await page.keyboard.press('x');
  await page.waitForURL('**/ui/executions');
  await watched.expectNoFaults();
  await watched.close();
});
