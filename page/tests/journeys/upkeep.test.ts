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

test('a week of schedules is a grid, and a cell opens its hour', async () => {
  const watched = await rig.loggedIn('/ui/schedules', viewer);
  const { page } = watched;
  await page.getByRole('table').getByRole('link', { name: /^2 times/ }).first().click();
  await page.waitForURL('**/ui/schedules?from=*&to=*');
  await page.getByText('night.nightly').waitFor();
  await page.getByText('night.hourly').waitFor();
  expect(await page.getByRole('table').count()).toBe(0);
  await watched.expectNoFaults();
  await watched.close();
});

test('a delivery is sent to try a hook, and one that is refused says why', async () => {
  const watched = await rig.loggedIn('/ui/hooks', operator);
  const { page } = watched;
  await page.getByText('secret set').waitFor();
  await page.getByRole('link', { name: 'night.door' }).click();
  await page.getByLabel('Body, as JSON').fill('{"id": "A1"}');
  await page.getByRole('button', { name: 'Send', exact: true }).click();
  await page.getByText('Accepted. Its events:').waitFor();
  await fetch(`${node.url}/hooks/night/door`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' });
  await page.getByRole('button', { name: 'Read again' }).click();
  await page.getByText('refused').first().waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

test('an operator verifies the log, and a viewer sees no button that would be refused', async () => {
  const watched = await rig.loggedIn('/ui/system', operator);
  await watched.page.getByRole('button', { name: 'Verify the log' }).click();
  await watched.page.getByText('succeeded', { exact: true }).first().waitFor();
  await watched.expectNoFaults();
  await watched.close();
  const other = await rig.loggedIn('/ui/system', viewer);
  await other.page.getByRole('heading', { name: 'Rebuild the views' }).waitFor();
  expect(await other.page.getByRole('button', { name: /Verify|Rebuild|Accept/ }).count()).toBe(0);
  await other.page.goto('/ui/hooks/night/door');
  await other.page.getByRole('heading', { name: 'night.door' }).waitFor();
  expect(await other.page.getByRole('button', { name: 'Send', exact: true }).count()).toBe(0);
  await other.expectNoFaults();
  await other.close();
});

test('a sensor shows its state, its cursor and its log, and an operator stops it and lets it count again', async () => {
  const watched = await rig.loggedIn('/ui/sensors', operator);
  const { page } = watched;
  await page.getByText('the program ended with exit code 3').first().waitFor();
  await page.getByRole('link', { name: 'night.counter' }).click();
  await page.getByText('running').first().waitFor();
  await page.getByRole('region', { name: 'Cursor' }).getByText('3').waitFor();
  await page.getByRole('button', { name: 'Disable…' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Disable', exact: true }).click();
  await page.getByText('disabled').first().waitFor();
  await page.getByRole('button', { name: 'Rewind…' }).click();
  await page.getByLabel('Cursor, as JSON').fill('3 of them');
  await page.getByRole('dialog').getByRole('button', { name: 'Rewind', exact: true }).click();
  await page.getByText('This is not JSON').waitFor();
  await page.getByLabel('Cursor, as JSON').fill('3');
  await page.getByRole('dialog').getByRole('button', { name: 'Rewind', exact: true }).click();
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Enable…' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Enable', exact: true }).click();
  await page.getByRole('region', { name: 'Log' }).getByText('it counted before').waitFor();
  await watched.expectNoFaults();
  await watched.close();
  const other = await rig.loggedIn('/ui/sensors/night.deaf', viewer);
  await other.page.getByRole('region', { name: 'Log' }).getByText('the device does not answer').first().waitFor();
  expect(await other.page.getByRole('button', { name: /Restart|Rewind|Disable/ }).count()).toBe(0);
  await other.page.goto('/ui/now');
  await other.page.getByRole('region', { name: 'Failing sensors' }).getByText('the program ended with exit code 3').waitFor();
  await other.page.getByRole('link', { name: 'night.deaf' }).click();
  await other.page.waitForURL('**/ui/sensors/night.deaf');
  await other.expectNoFaults();
  await other.close();
});
