import { expect, test } from 'vitest';
import type { Node } from '../support/node.ts';
import { Rig } from '../support/rig.ts';

let node: Node;
let operator: string;
let viewer: string;

const rig = Rig.for('night', {}, async (started) => {
  node = started;
  [operator, viewer] = await Promise.all([node.tokenOf('olga', ['operator']), node.tokenOf('vera', ['viewer'])]);
  await node.ask('PUT', '/keys/night.secret', { value: 'a secret of the monitor' });
});

interface Letter {
  id: string;
  status: string;
  settled: { rerun: string | null } | null;
}

async function fail(order: string): Promise<string> {
  const { id } = await node.ask<{ id: string }>('POST', '/actions/night.broken/execute', { params: { order } });
  return node.until(async () => (await letters()).find((letter) => letter.id === id)?.id);
}

const letters = async (): Promise<Letter[]> => (await node.ask<{ items: Letter[] }>('GET', '/dead_letters?status=open')).items;
const letter = (id: string): Promise<Letter> => node.ask<Letter>('GET', `/dead_letters/${id}`);

test('a dead letter is retried: the dialog says what would run, and the letter has its rerun', async () => {
  const id = await fail('A1');
  const watched = await rig.loggedIn('/ui/now', operator);
  const { page } = watched;
  await page.getByRole('link', { name: '1 dead letter' }).click();
  const row = page.getByRole('listitem').filter({ has: page.locator(`#row-${id}`) });
  await row.getByText('no route to the warehouse').waitFor();
  await row.getByRole('button', { name: 'Retry…' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('It has no steps: all of it runs again.').waitFor();
  await dialog.getByRole('button', { name: 'Retry the dead letter' }).click();
  await dialog.waitFor({ state: 'detached' });
  const settled = await node.until(async () => {
    const { status, settled } = await letter(id);
    return status === 'retried' ? settled : undefined;
  });
  // Its rerun fails for the same reason, and is a letter of its own.
  await page.locator(`#row-${settled?.rerun}`).waitFor();
  await expect.poll(() => row.count()).toBe(0);
  await page.getByRole('link', { name: 'Settled' }).click();
  await row.getByText('retried', { exact: true }).waitFor();
  await row.getByText('by token/olga').waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

test('a refused delivery is shown, and dismissed; a retry that would be refused has its reason and no button', async () => {
  await node.ask('POST', '/hooks/night/door/send', { body: { id: 7 } }).catch(() => null);
  const watched = await rig.loggedIn('/ui/waiting?kind=dead&sensor=night.door', operator);
  const { page } = watched;
  await page.getByText('/id: should be string').waitFor();
  await page.getByText('The delivery', { exact: true }).click();
  await page.getByRole('region', { name: 'The delivery' }).getByText('"id": 7').waitFor();
  await page.getByRole('button', { name: 'Retry…' }).click();
  await page.getByRole('dialog').getByRole('alert').getByText('/id: should be string').waitFor();
  expect(await page.getByRole('button', { name: 'Retry the dead letter' }).count()).toBe(0);
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Dismiss…' }).click();
  await page.getByRole('button', { name: 'Dismiss the dead letter' }).click();
  await page.getByText('Nothing fits this filter.').waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

test('all dead letters that a filter shows are dismissed, after the page has said how many', async () => {
  for (const order of ['B1', 'B2', 'B3']) await fail(order);
  const watched = await rig.loggedIn('/ui/waiting?kind=dead&action=night.broken', operator);
  const { page } = watched;
  const before = (await letters()).length;
  await expect.poll(() => page.getByRole('button', { name: 'Retry…', exact: true }).count()).toBe(before);
  await page.getByRole('button', { name: 'Dismiss all of these…' }).click();
  await page.getByText(`${before} would succeed`).waitFor();
  await page.getByRole('dialog').getByRole('button', { name: 'Dismiss all of these' }).click();
  await page.getByText(`${before} are done`).waitFor();
  await page.keyboard.press('Escape');
  await page.getByText('Nothing fits this filter.').waitFor();
  expect(await letters()).toEqual([]);
  await watched.expectNoFaults();
  await watched.close();
});

test('a filter keeps the kind, and is in the address', async () => {
  await fail('C1');
  const watched = await rig.loggedIn('/ui/waiting?kind=dead', operator);
  const { page } = watched;
  await page.getByText('no route to the warehouse').waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type('action:no.such');
  await page.keyboard.press('Enter');
  await page.waitForURL('**/ui/waiting?kind=dead&action=no.such');
  await page.getByText('Nothing fits this filter.').waitFor();
  await page.getByRole('link', { name: 'Remove the filter' }).click();
  await page.waitForURL('**/ui/waiting?kind=dead');
  await page.getByText('no route to the warehouse').waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

test('what holds a lock is canceled from the list of locks, and the next one gets it', async () => {
  for (let at = 0; at < 2; at += 1) await node.ask('POST', '/actions/night.deploy/execute', { params: { site: 'eu' } });
  const watched = await rig.loggedIn('/ui/waiting?kind=lock', operator);
  const { page } = watched;
  await page.getByText('1 waits').waitFor();
  await page.getByRole('button', { name: 'Cancel…' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel the execution' }).click();
  await page.getByText('0 wait', { exact: true }).waitFor();
  await page.getByText('1 of 1 held').waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

test('a viewer sees each kind of what waits, and no button that would be refused', async () => {
  const watched = await rig.loggedIn('/ui/waiting', viewer);
  const { page } = watched;
  const seen: [string, string][] = [
    ['Locks', 'night.deploy'],
    ['Queues', 'workers busy'],
    ['Timers', 'night.hourly'],
    ['Parked reactions', 'No reaction is parked.'],
    ['Dead letters', 'no route to the warehouse'],
  ];
  for (const [kind, text] of seen) {
    await page.getByRole('navigation', { name: 'Waiting' }).getByRole('link', { name: kind }).click();
    await page.getByText(text).first().waitFor();
    expect(await page.getByRole('main').getByRole('button').filter({ hasNot: page.locator('[data-icon="copy"]') }).count(), kind).toBe(0);
  }
  await watched.expectNoFaults();
  await watched.close();
});

test('a caller without the permission to read them sees which permission is missing', async () => {
  const watched = await rig.loggedIn('/ui/waiting?kind=dead', await node.tokenOf('lea', ['leads']));
  await watched.page.getByText('It requires the permission dead_letters:read').waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

/** Only an error in the engine itself parks a reaction, so that the answer of the node is the test's own here. */
test('a parked reaction has its error, what it is owed to, and is retried after a dry run', async () => {
  const watched = await rig.loggedIn('/ui/waiting?kind=lock', operator);
  const { page } = watched;
  const asked: string[] = [];
  const reaction = { of: 42, next: 0, error: 'a bug: the sky fell', position: 43, parked_at: '2026-11-26T03:12:40Z' };
  await page.route('**/api/v1/parked_reactions**', async (route) => {
    const request = route.request();
    if (request.method() === 'GET') return route.fulfill({ json: { items: [reaction], next: null } });
    asked.push(new URL(request.url()).pathname + new URL(request.url()).search);
    return route.fulfill({ status: 204 });
  });
  await page.getByRole('link', { name: 'Parked reactions' }).click();
  await page.getByText('a bug: the sky fell').waitFor();
  await page.getByText('Owed to the record 42').waitFor();
  await page.getByRole('button', { name: 'Retry…' }).click();
  await page.getByRole('button', { name: 'Retry the reaction' }).click();
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  expect(asked).toEqual(['/api/v1/parked_reactions/42/retry?dry_run=true', '/api/v1/parked_reactions/42/retry']);
  await watched.expectNoFaults();
  await watched.close();
});
