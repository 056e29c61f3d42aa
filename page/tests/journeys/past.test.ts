/** Things as they were at a position of the log. */

import { expect, test } from 'vitest';
import { Watched } from '../support/browser.ts';
import type { Node } from '../support/node.ts';
import { Rig } from '../support/rig.ts';

let node: Node;

const rig = Rig.for('packs', {}, async (started) => {
  node = started;
  await node.ask('PUT', '/roles/shippers', { permissions: ['inquiries:read', 'inquiries:answer'] });
});

test('a record leads to its execution, its question and its trace as they were then, and back to now', async () => {
  await node.order('P1');
  const { id, parent } = await node.question('P1');
  const { digest } = await node.ask<{ digest: string }>('GET', `/inquiries/${id}`);
  const answered = await fetch(`${node.url}/api/v1/inquiries/${id}/respond`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await node.tokenOf('maria', ['shippers'])}`, 'content-type': 'application/json' },
    body: JSON.stringify({ answer: { ship: true }, digest }),
  });
  expect(answered.status).toBe(200);
  await node.until(async () => ((await node.ask<{ status: string }>('GET', `/executions/${parent}`)).status === 'succeeded' ? true : undefined));
  const { answers } = await node.ask<{ answers: { position: number }[] }>('GET', `/inquiries/${id}`);
  const position = answers[0]?.position ?? 0;
  const watched = await Watched.open(rig.browser, node.url);
  const { page } = watched;
  await page.goto(`/ui/log/${position}`);
  await watched.logIn(node.token);
  await page.getByRole('link', { name: 'The question just before' }).click();
  const past = page.getByRole('main').getByText(/As of position \d/);
  await past.waitFor();
  await page.getByText('The question was open then.').waitFor();
  expect(await page.getByRole('button', { name: /Answer|Cancel/ }).count()).toBe(0);
  await page.getByRole('main').getByRole('link', { name: 'Now', exact: true }).click();
  await page.getByText('This question is closed.').waitFor();
  expect(await past.count()).toBe(0);

  await page.goto(`/ui/executions/${parent}?tab=records`);
  await page.getByRole('link', { name: /^As it was then/ }).first().click();
  await past.waitFor();
  await page.getByRole('heading', { name: 'shop.ship' }).waitFor();
  await page.getByText('The other parts show only the present.').waitFor();
  expect(await page.getByRole('button', { name: 'Rerun' }).count()).toBe(0);
  expect(await page.getByRole('tab').or(page.getByRole('navigation', { name: 'Parts of the execution' }).getByRole('link')).allTextContents()).toEqual(['Params & result', 'Attempts']);

  await page.goto(`/ui/trace/${parent}?as_of=${position - 1}`);
  await past.waitFor();
  await page.getByRole('listitem').getByText('waiting').first().waitFor();
  await page.getByRole('link', { name: 'shop.ship', exact: true }).first().click();
  await past.waitFor();
  await page.getByText('waiting').first().waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

test('a rule and an event are shown as they were', async () => {
  const { id } = await node.ask<{ id: string }>('POST', '/events', { trigger: 'bill.invoice', payload: { id: 'P2', amount: 500.5 } });
  await node.until(async () => ((await node.ask<{ items: unknown[] }>('GET', `/enforcements?event=${id}`)).items.length > 0 ? true : undefined));
  const { position } = await node.ask<{ position: number }>('GET', '/log/head');
  await node.ask('POST', '/rules/bill.big/disable', {});
  const watched = await Watched.open(rig.browser, node.url);
  const { page } = watched;
  await page.goto(`/ui/rules/bill.big?as_of=${position}`);
  await watched.logIn(node.token);
  await page.getByText(/As of position \d/).waitFor();
  await page.getByRole('main').getByText('enabled', { exact: true }).waitFor();
  await page.getByRole('heading', { name: 'Condition' }).waitFor();
  await page.getByRole('main').getByRole('link', { name: 'Now', exact: true }).click();
  await page.getByRole('main').getByText('disabled', { exact: true }).first().waitFor();
  await page.goto(`/ui/events/${id}?as_of=${position}`);
  await page.getByText(/As of position \d/).waitFor();
  await page.getByRole('heading', { name: 'bill.invoice' }).waitFor();
  expect(await page.getByRole('heading', { name: 'Rules' }).count()).toBe(0);
  await node.ask('POST', '/rules/bill.big/enable', {});
  await watched.expectNoFaults();
  await watched.close();
});
