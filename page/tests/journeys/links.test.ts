import { expect, test } from 'vitest';
import { PHONE, Watched } from '../support/browser.ts';
import type { Node } from '../support/node.ts';
import { Rig } from '../support/rig.ts';

let node: Node;

const rig = Rig.for('packs', {}, async (started) => {
  node = started;
  await node.ask('POST', '/identities', { name: 'ana' });
  await node.ask('POST', '/grants', { subject: 'identity:ana', role: 'approver' });
});

/** Asks ana something, and returns the question and the code of a link to it. */
async function asked(): Promise<{ id: string; code: string }> {
  const params = { title: 'Go on?', assignees: ['ana'], answer: { type: 'object', required: ['go'], properties: { go: { type: 'boolean' } } } };
  const { id } = await node.ask<{ id: string }>('POST', '/actions/core.inquiry/execute', { params });
  const inquiry = await node.until(async () => (await node.ask<{ inquiry: string | null }>('GET', `/executions/${id}`)).inquiry ?? undefined);
  const { code } = await node.ask<{ code: string }>('POST', `/inquiries/${inquiry}/links`, { for: 'ana' });
  return { id: inquiry, code };
}

test('a link shows one question without a login, and one click answers it', async () => {
  const { id, code } = await asked();
  const watched = await Watched.open(rig.browser, node.url, PHONE);
  const { page } = watched;
  await page.goto(`/ui/answer#${code}`);
  await page.getByRole('heading', { name: 'Go on?' }).waitFor();
  expect((await node.ask<{ status: string }>('GET', `/inquiries/${id}`)).status).toBe('open');
  expect(page.url()).not.toContain(code);
  expect(await page.getByRole('navigation').count()).toBe(0);
  await page.getByLabel('Yes').check();
  await page.getByRole('button', { name: 'Answer and decide' }).click();
  await page.getByText('Your answer decided it.').waitFor();
  expect(await node.ask('GET', `/inquiries/${id}`)).toMatchObject({ status: 'answered', answer: { go: true } });
  await watched.expectNoFaults();
  await watched.close();
});

test('a link that was used says so, and a link without its code asks for it', async () => {
  const { code } = await asked();
  await fetch(`${node.url}/api/v1/inquiries/links/open`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ code }) });
  const watched = await Watched.open(rig.browser, node.url);
  await watched.page.goto(`/ui/answer#${code}`);
  await watched.page.getByRole('alert').waitFor();
  await watched.page.goto('/ui/me');
  await watched.page.goto('/ui/answer');
  await watched.page.getByText('This link is not complete.').waitFor();
  await watched.close();
});

test('a login link opens a session, and a session that is ended logs its page out', async () => {
  await node.tokenOf('maria', ['viewer']);
  const { code } = await node.ask<{ code: string }>('POST', '/tokens/maria/login_links', {});
  const watched = await Watched.open(rig.browser, node.url);
  const { page } = watched;
  await page.goto(`/ui/login#${code}`);
  await page.getByRole('button', { name: 'Log in with the link' }).click();
  await page.waitForURL('**/ui/now');
  await page.getByRole('navigation', { name: 'Menu' }).getByRole('link', { name: 'Events' }).waitFor();
  await page.goto('/ui/me');
  await page.getByRole('heading', { name: 'maria' }).waitFor();
  await page.getByRole('button', { name: 'End', exact: true }).click();
  await page.getByRole('heading', { name: 'Log in to Ensue' }).waitFor();
  await watched.expectNoFaults();
  await watched.close();
});
