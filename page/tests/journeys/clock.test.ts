/** Times that a schedule missed, and a clock that stepped far forward. */

import { afterAll, expect, test } from 'vitest';
import type { Node } from '../support/node.ts';
import { Rig } from '../support/rig.ts';
import { WallClock } from '../support/clock.ts';

const HOUR = 3_600;

const clock = WallClock.make();
let node: Node;

const rig = Rig.for('night', clock?.variables, async (started) => {
  node = started;
});

afterAll(() => clock?.remove());

test.skipIf(!clock)('an operator sees the times that a schedule missed while no node ran, and makes up for them', async () => {
  await node.kill();
  clock?.isOffBy(3 * HOUR);
  await node.restart();
  interface Timer {
    rule: string | null;
    missed: object | null;
  }
  await node.until(async () => (await node.ask<{ items: Timer[] }>('GET', '/timers?limit=200')).items.find((timer) => timer.rule === 'night.hourly' && timer.missed));
  const events = async (): Promise<number> => (await node.ask<{ items: object[] }>('GET', '/events?trigger=core.schedule&limit=200')).items.length;
  const before = await events();
  const watched = await rig.loggedIn('/ui/schedules', await node.tokenOf('olga', ['operator', 'editor']));
  const { page } = watched;
  const missed = page.getByRole('region', { name: 'Missed' }).getByRole('listitem').filter({ hasText: 'night.hourly' });
  await missed.getByText('the newest was fired for all').waitFor();
  const left = Number(/(\d+) times? did not fire/.exec((await missed.getByText('did not fire').textContent()) ?? '')?.[1]);
  expect(left).toBeGreaterThan(0);
  await missed.getByRole('button', { name: 'Make up for them…' }).click();
  await page.getByRole('dialog').getByRole('button', { name: /^Create \d+ events?$/ }).click();
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  await missed.getByText('All of them have fired.').waitFor();
  await expect.poll(events).toBe(before + left);
  await watched.expectNoFaults();
  await watched.close();
  const viewer = await rig.loggedIn('/ui/schedules', await node.tokenOf('vera', ['viewer']));
  await viewer.page.getByRole('region', { name: 'Missed' }).getByText('night.hourly').waitFor();
  expect(await viewer.page.getByRole('button', { name: 'Make up for them…' }).count()).toBe(0);
  await viewer.expectNoFaults();
  await viewer.close();
});

test.skipIf(!clock)('a clock that stepped far forward holds timers back, until somebody accepts it on the page', async () => {
  const { id } = await node.ask<{ id: string }>('POST', '/actions/core.echo/execute', {
    params: { message: 'late' },
    start_at: new Date(Date.now() + 5 * HOUR * 1_000).toISOString(),
  });
  clock?.isOffBy(8 * HOUR);
  interface Doctor {
    findings: { check: string; verdict: string }[];
  }
  const isHeld = async (): Promise<true | undefined> =>
    (await node.ask<Doctor>('GET', '/doctor')).findings.some(({ check, verdict }) => check === 'clock' && verdict !== 'good') || undefined;
  await node.until(isHeld);
  expect(await node.ask('GET', `/executions/${id}`)).toMatchObject({ status: 'delayed' });
  const viewer = await rig.loggedIn('/ui/system', await node.tokenOf('vic', ['viewer']));
  await viewer.page.getByText('warning', { exact: true }).first().waitFor();
  expect(await viewer.page.getByRole('button', { name: 'Accept the clock…' }).count()).toBe(0);
  await viewer.close();
  const watched = await rig.loggedIn('/ui/system');
  const { page } = watched;
  await page.getByRole('button', { name: 'Accept the clock…' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Accept the clock' }).click();
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  await expect.poll(() => page.getByRole('button', { name: 'Accept the clock…' }).count()).toBe(0);
  await expect.poll(async () => (await node.ask<{ status: string }>('GET', `/executions/${id}`)).status).toBe('succeeded');
  await watched.expectNoFaults();
  await watched.close();
});

test('the views are built again from the page, and show the same', async () => {
  const { id } = await node.ask<{ id: string }>('POST', '/actions/core.echo/execute', { params: { message: 'kept' } });
  await node.until(async () => (await node.ask<{ status: string }>('GET', `/executions/${id}`)).status === 'succeeded' || undefined);
  const watched = await rig.loggedIn('/ui/system');
  const { page } = watched;
  const job = page.locator('section').filter({ has: page.getByRole('heading', { name: 'Rebuild the views' }) });
  await job.getByText('Not since the node started.').waitFor();
  await job.getByRole('button', { name: 'Rebuild the views' }).click();
  await job.getByRole('status').getByText('succeeded', { exact: true }).waitFor();
  await page.goto(`/ui/executions/${id}`);
  await page.getByRole('heading', { name: 'core.echo' }).waitFor();
  await page.getByText('succeeded').first().waitFor();
  await watched.expectNoFaults();
  await watched.close();
});
