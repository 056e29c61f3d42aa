import { expect, test } from 'vitest';
import { PHONE, Watched } from '../support/browser.ts';
import type { Node } from '../support/node.ts';
import { Rig } from '../support/rig.ts';

let node: Node;
let token: string;

const rig = Rig.for('packs', {}, async (started) => {
  node = started;
  await node.ask('PUT', '/roles/shippers', { permissions: ['inquiries:read', 'inquiries:answer'] });
  token = await node.tokenOf('maria', ['shippers', 'approver']);
});

test('a phone answers from a cold link', async () => {
  await node.order('A1');
  const { id, parent } = await node.question('A1');
  const watched = await Watched.open(rig.browser, node.url, PHONE);
  const { page } = watched;
  await page.goto(`/ui/inbox/${id}`);
  await watched.logIn(token);
  await page.getByRole('heading', { name: 'Ship A1?' }).waitFor();
  await page.getByText('shop.order was received').waitFor();
  await page.getByLabel('Yes').check();
  await page.getByRole('button', { name: 'Answer and decide' }).click();
  await page.getByText('Your answer decided it.').waitFor();
  const answered = await node.ask<{ status: string; answer: unknown }>('GET', `/inquiries/${id}`);
  expect(answered).toMatchObject({ status: 'answered', answer: { ship: true } });
  await node.until(async () => {
    const { status } = await node.ask<{ status: string }>('GET', `/executions/${parent}`);
    return status === 'succeeded' ? true : undefined;
  });
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  expect(width).toBeLessThanOrEqual(390);
  await watched.expectNoFaults();
  await watched.close();
});

test('a person who may only answer sees the inbox and nothing else', async () => {
  const watched = await Watched.open(rig.browser, node.url);
  const { page } = watched;
  await page.goto('/ui/');
  await watched.logIn(token);
  await page.waitForURL('**/ui/inbox');
  const links = await page.getByRole('navigation', { name: 'Menu' }).getByRole('link').allTextContents();
  expect(links.map((text) => text.trim())).toEqual(['Ensue', 'Inbox', 'maria']);
  await watched.expectNoFaults();
  await watched.close();
});

test('a question that somebody else answers is closed under a draft, and the draft is not sent', async () => {
  await node.order('A2');
  const { id } = await node.question('A2');
  const watched = await Watched.open(rig.browser, node.url);
  const { page } = watched;
  await page.goto(`/ui/inbox/${id}`);
  await watched.logIn(token);
  await page.getByLabel('note (optional)').fill('my draft');
  const other = await node.tokenOf('otto', ['shippers', 'approver']);
  await fetch(`${node.url}/api/v1/inquiries/${id}/respond`, {
    method: 'POST',
    headers: { authorization: `Bearer ${other}`, 'content-type': 'application/json' },
    body: JSON.stringify({ answer: { ship: false }, digest: (await node.ask<{ digest: string }>('GET', `/inquiries/${id}`)).digest }),
  }).then((response) => expect(response.status).toBe(200));
  await page.getByText('otto answered, and that decided it.').waitFor();
  expect(await page.getByRole('button', { name: 'Answer' }).count()).toBe(0);
  await watched.expectNoFaults();
  await watched.close();
});

test('an answer without its decision is marked at its field, which gets the focus', async () => {
  await node.order('A3');
  const { id } = await node.question('A3');
  const watched = await Watched.open(rig.browser, node.url);
  const { page } = watched;
  await page.goto(`/ui/inbox/${id}`);
  await watched.logIn(token);
  await page.getByRole('button', { name: 'Answer and decide' }).click();
  await page.getByText('This is required.').waitFor();
  expect(await page.evaluate(() => (document.activeElement as HTMLElement).dataset.pointer)).toBe('/ship');
  await watched.close();
});
