/** The page of the OpenAPI document: a reader tries calls from it. */

import { expect, test } from 'vitest';
import { Watched } from '../support/browser.ts';
import { Rig } from '../support/rig.ts';

const rig = Rig.for('packs');

test('a call is tried with the session of the browser', async () => {
  const watched = await rig.loggedIn('/ui/');
  const { page } = watched;
  await page.goto('/docs/reference/openapi#rule_get');
  const section = page.locator('#rule_get');
  await section.getByText('Try it').click();
  await section.getByLabel('ref').fill('bill.big');
  await section.getByRole('button', { name: 'Send GET' }).click();
  await section.getByText('"ref": "bill.big"').waitFor();
  expect(await section.locator('.answer').textContent()).toMatch(/^200 OK\n/);
  await watched.expectNoFaults();
  await watched.close();
});

test('a call with a body and a token is answered, and a stream is shown as it comes until the reader stops it', async () => {
  const watched = await Watched.open(rig.browser, rig.node.url);
  const { page } = watched;
  await page.goto('/docs/reference/openapi');
  await page.getByLabel('Token for calls').fill(rig.node.token);
  const stream = page.locator('#change_stream');
  await stream.getByText('Try it').click();
  await stream.getByRole('button', { name: 'Send GET' }).click();
  await stream.getByText('200 OK').waitFor();
  const section = page.locator('#event_send');
  await section.getByText('Try it').click();
  await section.getByLabel('Body').fill(JSON.stringify({ trigger: 'shop.order', payload: { id: 'A1', note: 'tried' } }));
  await section.getByRole('button', { name: 'Send POST' }).click();
  await section.getByText(/^202 /).waitFor();
  await stream.getByText('data:').waitFor();
  await stream.getByRole('button', { name: 'Stop' }).click();
  await stream.getByText('(stopped)').waitFor();
  await watched.expectNoFaults();
  await watched.close();
});
