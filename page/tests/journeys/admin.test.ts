import { readFileSync } from 'node:fs';
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { Watched } from '../support/browser.ts';
import type { Node } from '../support/node.ts';
import { Rig } from '../support/rig.ts';

let node: Node;

const rig = Rig.for('packs', {}, async (started) => {
  node = started;
});

/** Makes an identity, and returns a token of it. */
async function person(name: string): Promise<string> {
  await node.ask('POST', '/identities', { name, kind: 'person' });
  return (await node.ask<{ token: string }>('POST', '/tokens', { name: `${name}-laptop`, identity: name })).token;
}

const dialog = (page: Page): ReturnType<Page['getByRole']> => page.getByRole('dialog');

test('an action is run from a form, and its execution opens', async () => {
  const watched = await rig.loggedIn('/ui/actions');
  const { page } = watched;
  await page.getByRole('row').filter({ hasText: 'shop.print' }).getByRole('link').click();
  await page.getByText('Prints a text, and counts lines.', { exact: true }).first().waitFor();
  await page.getByRole('region', { name: 'Text of actions/print.yaml' }).getByText('parameters: { text: string').waitFor();
  await page.getByRole('link', { name: 'Run', exact: true }).click();
  await page.getByRole('button', { name: 'Run', exact: true }).click();
  await page.getByText('This is required.').first().waitFor();
  expect(await page.evaluate(() => (document.activeElement as HTMLElement | null)?.dataset.pointer)).toBe('/text');
  await page.getByLabel('text').fill("it's me");
  await page.getByLabel('lines').fill('2');
  await page.getByLabel('Labels').fill('team=web');
  await page.getByText('As a command').click();
  await page.getByText(`ensue run shop.print --param 'text=it'\\''s me' --param lines:=2 --label team=web`).waitFor();
  await page.getByRole('button', { name: 'Run', exact: true }).click();
  await page.waitForURL('**/ui/executions/*');
  await page.getByRole('heading', { name: 'shop.print' }).waitFor();
  await page.getByText('team=web').waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

test('the parameters of an address fill the form, and a start in the future delays the execution', async () => {
  const watched = await rig.loggedIn(`/ui/actions/shop.print/run?params=${encodeURIComponent('{"text":"from a link","lines":1}')}`);
  const { page } = watched;
  await expect.poll(() => page.getByLabel('text').inputValue()).toBe('from a link');
  await page.getByLabel('Start at').fill('2099-01-01T10:00');
  await page.getByRole('button', { name: 'Run', exact: true }).click();
  await page.waitForURL('**/ui/executions/*');
  await page.getByText('delayed').first().waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

test('a grant is given and ends, and what its holder may do follows', async () => {
  const holder = await rig.loggedIn('/ui/me', await person('bo'));
  const menu = holder.page.getByRole('navigation', { name: 'Menu' });
  await holder.page.getByRole('heading', { name: 'bo' }).waitFor();
  expect(await menu.count()).toBe(0);
  const admin = await rig.loggedIn('/ui/people/bo');
  const { page } = admin;
  await page.getByRole('button', { name: 'Grant a role' }).click();
  await dialog(page).getByLabel('Role').fill('viewer');
  await dialog(page).getByRole('button', { name: 'Grant', exact: true }).click();
  await dialog(page).waitFor({ state: 'detached' });
  await holder.page.getByText('Your rights on this node changed.').waitFor({ timeout: 5_000 });
  await menu.getByRole('link', { name: 'Executions' }).click();
  await holder.page.getByRole('heading', { name: 'Executions' }).waitFor();

  await page.getByLabel('Permission').fill('executions:read');
  await page.getByRole('button', { name: 'Check' }).click();
  await page.getByText('By the role viewer, granted to identity:bo').waitFor();

  await page.getByRole('list', { name: 'Grants' }).getByRole('button', { name: 'End' }).click();
  await dialog(page).getByRole('button', { name: 'End' }).click();
  await page.getByText('There are no grants.').waitFor();
  await holder.page.getByText('It requires the permission executions:read.').waitFor({ timeout: 5_000 });
  await expect.poll(() => menu.count()).toBe(0);
  await page.getByLabel('Permission').fill('executions:read ');
  await page.getByRole('button', { name: 'Check' }).click();
  await page.getByText('No: no grant gives the permission executions:read here.').waitFor();
  await admin.expectNoFaults();
  await admin.close();
  await holder.close();
});

test('a token is shown once, works, and ends with its identity', async () => {
  await node.ask('POST', '/identities', { name: 'cy', kind: 'service' });
  const watched = await rig.loggedIn('/ui/people/cy');
  const { page } = watched;
  await page.getByRole('button', { name: 'Add a token' }).click();
  await dialog(page).getByLabel('Name').fill('cy-job');
  await dialog(page).getByRole('button', { name: 'Add a token' }).click();
  const token = await dialog(page).getByLabel('Token').inputValue();
  expect(token).toMatch(/^ens_/);
  await dialog(page).getByRole('button', { name: 'Close' }).click();
  await page.getByRole('list', { name: 'Tokens' }).getByText('cy-job').waitFor();
  expect(await page.content()).not.toContain(token);
  const ask = async (): Promise<number> => (await fetch(`${node.url}/api/v1/me`, { headers: { authorization: `Bearer ${token}` } })).status;
  expect(await ask()).toBe(200);
  await page.getByRole('button', { name: 'Disable' }).click();
  await dialog(page).getByRole('button', { name: 'Disable' }).click();
  await page.getByText('disabled', { exact: true }).waitFor();
  expect(await ask()).toBe(401);
  await watched.expectNoFaults();
  await watched.close();
});

test('a key is rotated, and its value is in no answer, storage or DOM afterwards', async () => {
  const watched = await rig.loggedIn('/ui/keys');
  const { page } = watched;
  const [first, second] = ['first-secret-4711-0123456789', 'second-secret-4712-0123456789'];
  const answers: Promise<string>[] = [];
  page.on('response', (response) => {
    if (response.url().includes('/api/v1/') && !response.url().includes('/changes')) answers.push(response.text().catch(() => ''));
  });
  await page.getByRole('button', { name: 'Set a key' }).click();
  await dialog(page).getByLabel('Key', { exact: true }).fill('shop.deploy');
  expect(await dialog(page).getByLabel('Value', { exact: true }).getAttribute('type')).toBe('password');
  await dialog(page).getByLabel('Value', { exact: true }).fill(first);
  await dialog(page).getByRole('button', { name: 'Set a key' }).click();
  await page.getByText('version 1').waitFor();
  await page.getByRole('button', { name: 'Rotate' }).click();
  await dialog(page).getByLabel('Let the node generate a value').uncheck();
  await dialog(page).getByLabel('Value', { exact: true }).fill(second);
  await dialog(page).getByLabel('Accept the value before for').fill('1h');
  await dialog(page).getByRole('button', { name: 'Rotate' }).click();
  await page.getByText('version 2').waitFor();
  await page.getByRole('button', { name: 'Versions' }).click();
  await dialog(page).getByText('still accepted').waitFor();
  const seen = [
    ...(await Promise.all(answers)),
    await page.content(),
    await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href, history.state])),
    await page.evaluate(() => [...document.querySelectorAll('input, textarea')].map((field) => (field as HTMLInputElement).value).join('\n')),
  ].join('\n');
  expect(seen).toContain('shop.deploy');
  expect(seen).not.toContain(first);
  expect(seen).not.toContain(second);
  await dialog(page).getByRole('button', { name: 'Close' }).click();

  await page.getByRole('button', { name: 'Reveal' }).click();
  await dialog(page).getByText('The audit records that you have seen it.').waitFor();
  await dialog(page).getByRole('button', { name: 'Record it, and show the value' }).click();
  await expect.poll(() => dialog(page).getByLabel('Value').inputValue()).toBe(second);
  await dialog(page).getByRole('button', { name: 'Close' }).click();
  expect(await page.content()).not.toContain(second);
  await page.goto('/ui/audit?what=key.revealed');
  await page.getByRole('list', { name: 'Who did what' }).getByText('key/shop.deploy').waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

test('an auditor finds who said yes and exports it', async () => {
  await node.order('Y1');
  const { id } = await node.question('Y1');
  const maria = await node.tokenOf('maria', ['shippers']);
  const { digest, execution } = await node.ask<{ digest: string; execution: string }>('GET', `/inquiries/${id}`);
  const answered = await fetch(`${node.url}/api/v1/inquiries/${id}/respond`, {
    method: 'POST',
    headers: { authorization: `Bearer ${maria}`, 'content-type': 'application/json' },
    body: JSON.stringify({ answer: { ship: true, note: 'fine' }, digest }),
  });
  expect(answered.status).toBe(200);
  await node.ask('PUT', '/roles/auditor', { permissions: ['audit:read', 'inquiries:read'] });
  const watched = await rig.loggedIn('/ui/audit', await node.tokenOf('audi', ['auditor']));
  const { page } = watched;
  await page.getByRole('link', { name: 'Answers to questions' }).click();
  const row = page.getByRole('list', { name: 'Who did what' }).getByRole('listitem').filter({ hasText: execution });
  await row.getByText('maria').waitFor();
  expect(await row.count()).toBe(1);
  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Export as CSV' }).click()]);
  expect(file.suggestedFilename()).toBe('audit.csv');
  const lines = readFileSync(await file.path(), 'utf8').trim().split('\n');
  expect(lines.length).toBe(2);
  expect(lines[1]).toContain(execution);
  expect(lines[1]).toContain('inquiry.answered');
  await page.goto('/ui/audit?what=export.made');
  await page.getByRole('list', { name: 'Who did what' }).getByText('audi').first().waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

test('the log says what led to what', async () => {
  const watched = await rig.loggedIn('/ui/log?kind=inquiry.answered');
  const { page } = watched;
  await page.getByRole('list', { name: 'Records' }).getByRole('link').first().click();
  await page.getByRole('heading', { name: /^Record / }).waitFor();
  await page.getByRole('link', { name: 'Only what its root led to' }).click();
  await page.waitForURL('**/ui/log?root=*');
  await page.getByText('event received').waitFor();
  await page.getByText('inquiry answered').waitFor();
  expect(await page.getByText('pack installed').count()).toBe(0);
  await page.getByRole('link', { name: 'Newest records' }).click();
  await page.getByRole('list', { name: 'Records' }).getByRole('listitem').first().waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

test('a var is set, changed and removed', async () => {
  const watched = await rig.loggedIn('/ui/vars');
  const { page } = watched;
  await page.getByText('No var has a value.').waitFor();
  await page.getByRole('button', { name: 'Set a var' }).click();
  await dialog(page).getByLabel('Var').fill('shop.limit');
  await dialog(page).getByLabel('Value').fill('{"most": 3');
  await dialog(page).getByRole('button', { name: 'Set' }).click();
  await dialog(page).getByText('This is not JSON').waitFor();
  await dialog(page).getByLabel('Value').fill('{"most": 3}');
  await dialog(page).getByRole('button', { name: 'Set' }).click();
  await page.getByText('"most": 3').waitFor();
  await page.getByRole('button', { name: 'Remove' }).click();
  await dialog(page).getByRole('button', { name: 'Remove' }).click();
  await page.getByText('No var has a value.').waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

test('a viewer sees no button that would be refused', async () => {
  await node.ask('PUT', '/keys/shop.seen', { value: 'a value that is long enough' });
  await node.ask('PUT', '/vars/shop.seen', { value: 1 });
  await node.ask('PUT', '/roles/looker', { permissions: ['keys:read', 'identities:read', 'grants:read', 'tokens:read', 'audit:read'] });
  const watched = await rig.loggedIn('/ui/me', await node.tokenOf('vic', ['viewer', 'looker']));
  const { page } = watched;
  await page.getByRole('heading', { name: 'vic' }).waitFor();
  const allowed = /^(Copy|Versions|Check|Export as|Load more|Go to, do or search|Log out|Close|$)/;
  for (const path of ['/ui/actions', '/ui/actions/shop.print', '/ui/people', '/ui/people/bo', '/ui/people?tab=tokens', '/ui/keys', '/ui/vars', '/ui/audit', '/ui/log']) {
    await page.goto(path);
    await page.getByRole('main').locator('h1').waitFor();
    await page.waitForTimeout(400);
    const buttons = await page.getByRole('button').evaluateAll((found) => found.map((button) => (button.getAttribute('aria-label') ?? button.textContent ?? '').trim()));
    expect(buttons.filter((name) => !allowed.test(name)), path).toEqual([]);
    expect(await page.getByRole('link', { name: 'Run', exact: true }).count(), path).toBe(0);
  }
  await page.goto('/ui/actions/shop.print/run');
  await page.getByText('You may not run this action.').waitFor();
  await page.goto('/ui/people?tab=sessions');
  await page.getByRole('list', { name: 'Sessions' }).getByRole('listitem').first().waitFor();
  expect(await page.getByRole('button', { name: 'End' }).count()).toBe(1);
  await watched.expectNoFaults();
  await watched.close();
});

test('the palette finds a thing, goes to it, and does things by keys alone', async () => {
  const watched = await rig.loggedIn('/ui/me');
  const { page } = watched;
  await page.getByRole('heading', { name: 'admin' }).waitFor();
  await page.keyboard.press('Control+k');
  await page.keyboard.type('shop.print');
  await page.getByRole('option', { name: 'Run shop.print' }).waitFor();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await page.waitForURL('**/ui/actions/shop.print/run');
  await page.getByRole('heading', { name: 'Run shop.print' }).waitFor();
  await page.keyboard.press('Control+k');
  await page.keyboard.type('go to keys');
  await page.keyboard.press('Enter');
  await page.waitForURL('**/ui/keys');
  await watched.expectNoFaults();
  await watched.close();
});

test('people, grants, tokens, keys, vars, the audit and the log change by themselves', async () => {
  const watched = await rig.loggedIn('/ui/people');
  const { page } = watched;
  await page.getByRole('list', { name: 'Identities' }).waitFor();
  await node.ask('POST', '/identities', { name: 'di.live', kind: 'person' });
  await page.getByRole('link', { name: 'di.live' }).waitFor();
  await page.goto('/ui/people?tab=grants');
  await node.ask('POST', '/grants', { subject: 'identity:di.live', role: 'viewer' });
  await page.getByRole('list', { name: 'Grants' }).getByText('identity:di.live').waitFor();
  await page.goto('/ui/people?tab=tokens');
  await node.ask('POST', '/tokens', { name: 'di-live-laptop', identity: 'di.live' });
  await page.getByRole('list', { name: 'Tokens' }).getByText('di-live-laptop').waitFor();
  await page.goto('/ui/keys');
  await page.getByRole('heading', { name: 'Keys' }).waitFor();
  await node.ask('PUT', '/keys/shop.live', { value: 'a value that is long enough' });
  await page.getByText('shop.live').waitFor();
  await page.goto('/ui/vars');
  await page.getByRole('heading', { name: 'Vars' }).waitFor();
  await node.ask('PUT', '/vars/shop.live', { value: 'first-of-live' });
  await page.getByText('first-of-live').waitFor();
  await page.goto('/ui/audit');
  await page.getByRole('list', { name: 'Who did what' }).waitFor();
  await node.ask('POST', '/identities', { name: 'ed.live', kind: 'person' });
  await page.getByRole('list', { name: 'Who did what' }).getByText('ed.live').first().waitFor();
  await page.goto('/ui/log');
  const place = page.getByRole('list', { name: 'Records' }).getByRole('link', { name: /^\d+$/ }).last();
  const before = Number(await place.textContent());
  await node.ask('PUT', '/vars/shop.live', { value: 'second-of-live' });
  await expect.poll(async () => Number(await place.textContent()), { timeout: 10_000 }).toBeGreaterThan(before);
  await watched.expectNoFaults();
  await watched.close();
});

test('a person is added, gets groups and a deputy, logs in by a link, and is erased', async () => {
  await node.ask('POST', '/identities', { name: 'fay', kind: 'person' });
  const watched = await rig.loggedIn('/ui/people');
  const { page } = watched;
  await page.getByRole('button', { name: 'Add somebody' }).click();
  await dialog(page).getByLabel('Name').fill('gus.new');
  await dialog(page).getByLabel('Groups').fill('release, oncall');
  await dialog(page).getByText('As a command').click();
  await dialog(page).getByText('ensue identities add gus.new --group release --group oncall').waitFor();
  await dialog(page).getByRole('button', { name: 'Add somebody' }).click();
  await page.waitForURL('**/ui/people/gus.new');
  await page.getByText('Groups: oncall, release').waitFor();

  await page.getByRole('button', { name: 'Change groups' }).click();
  await dialog(page).getByLabel('Groups').fill('oncall');
  await dialog(page).getByRole('button', { name: 'Set these groups' }).click();
  await page.getByText('Groups: oncall').waitFor();

  await page.getByRole('button', { name: 'Set an absence' }).click();
  await dialog(page).getByLabel('Deputy').fill('fay');
  await dialog(page).getByLabel('Absent until').fill('2099-01-01T10:00');
  await dialog(page).getByText('As a command').click();
  await dialog(page).getByText(/ensue identities absent gus\.new --until 209\S+ --deputy fay/).waitFor();
  await dialog(page).getByRole('button', { name: 'Set the absence' }).click();
  await page.getByText('fay answers meanwhile').waitFor();
  await page.getByRole('button', { name: 'Set an absence' }).click();
  await dialog(page).getByRole('button', { name: 'Present again' }).click();
  await page.getByText('fay answers meanwhile').waitFor({ state: 'detached' });

  await page.getByRole('button', { name: 'Add a token' }).click();
  await dialog(page).getByLabel('Name').fill('gus-phone');
  await dialog(page).getByRole('button', { name: 'Add a token' }).click();
  await dialog(page).getByLabel('Token').waitFor();
  await dialog(page).getByRole('button', { name: 'Close' }).click();
  await page.getByRole('list', { name: 'Tokens' }).getByRole('button', { name: 'Create a login link' }).click();
  await dialog(page).getByRole('button', { name: 'Create the link' }).click();
  const link = await dialog(page).getByLabel('Login link').inputValue();
  expect(link.startsWith(`${node.url}/ui/login#`)).toBe(true);
  await dialog(page).getByRole('button', { name: 'Close' }).click();
  const phone = await Watched.open(rig.browser, node.url);
  await phone.page.goto(link);
  await phone.page.getByRole('button', { name: 'Log in with the link' }).click();
  await phone.page.getByRole('heading', { name: 'gus.new' }).waitFor();
  await phone.expectNoFaults();
  await phone.close();

  await page.getByRole('button', { name: 'Erase' }).click();
  const erase = dialog(page).getByRole('button', { name: 'Erase' });
  expect(await erase.isDisabled()).toBe(true);
  await dialog(page).getByLabel('Type the name to confirm').fill('gus.new');
  await erase.click();
  await page.waitForURL('**/ui/people');
  await page.getByRole('link', { name: 'fay' }).waitFor();
  await expect.poll(() => page.getByRole('link', { name: 'gus.new' }).count()).toBe(0);
  await watched.expectNoFaults();
  await watched.close();
});
