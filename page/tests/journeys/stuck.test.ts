/** Why is this stuck? Each kind of thing that an execution waits for is at most two clicks from what happens now. */

import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import type { WaitKind } from '../../app/api/types.ts';
import type { Node } from '../support/node.ts';
import { Rig } from '../support/rig.ts';

const CLICKS_MAX = 2;

let node: Node;

const rig = Rig.for('night', {}, async (started) => {
  node = started;
});

interface Execution {
  id: string;
  waits_for: { kind: WaitKind } | null;
}

async function run(action: string, params: object = {}, more: object = {}): Promise<string> {
  return (await node.ask<Execution>('POST', `/actions/${action}/execute`, { params, ...more })).id;
}

/** Waits until an execution or a step of it waits for something. Returns the one that does. */
async function waiting(id: string, kind: WaitKind): Promise<string> {
  return node.until(async () => {
    const [one, steps] = await Promise.all([
      node.ask<Execution>('GET', `/executions/${id}`),
      node.ask<{ items: Execution[] }>('GET', `/executions?parent=${id}`),
    ]);
    return [one, ...steps.items].find((execution) => execution.waits_for?.kind === kind)?.id;
  });
}

/** How an execution comes to wait, and what its screen says then. */
const KINDS: Record<WaitKind, { make: () => Promise<string>; says: string }> = {
  // First, because the workers of all others would be lost with its own.
  settling: {
    make: async () => {
      const id = await run('night.pay');
      await node.until(async () => {
        const { items } = await node.ask<{ items: { text: string }[] }>('GET', `/executions/${id}/logs`);
        return items.find((output) => output.text.includes('charging'));
      });
      await node.loseWorkers();
      return id;
    },
    says: 'Waits for somebody who decides its outcome',
  },
  worker: { make: () => run('night.report'), says: 'Waits for a worker of the queue reports' },
  lock: {
    make: async () => {
      await waiting(await run('night.deploy', { site: 'eu' }), 'steps');
      return run('night.deploy', { site: 'eu' });
    },
    says: 'Waits for the lock of night.deploy',
  },
  time: { make: () => run('core.echo', { message: 'later' }, { start_at: '2099-01-01T00:00:00Z' }), says: 'Waits for a time' },
  retry: { make: () => run('night.flaky'), says: 'Waits for its next attempt' },
  answer: { make: () => run('night.ask'), says: 'Waits for an answer' },
  event: { make: () => run('night.await'), says: 'Waits for an event' },
  steps: { make: () => run('night.deploy', { site: 'us' }), says: 'Waits for its steps' },
  resume: {
    make: async () => {
      const id = await run('night.deploy', { site: 'ap' });
      await waiting(id, 'steps');
      await node.ask('POST', `/executions/${id}/pause`, {});
      return id;
    },
    says: 'Is paused until somebody resumes it',
  },
};

/** The status by which the list of open executions shows those that wait for what comes by itself. */
const IN_LIST: Partial<Record<WaitKind, string>> = { time: 'delayed', steps: 'waiting' };

/** Clicks from what happens now to an execution, and returns how many clicks that took. */
async function clicksTo(page: Page, id: string, status: string | undefined): Promise<number> {
  let clicks = 0;
  if (status !== undefined) {
    await page.getByRole('main').getByRole('link', { name: status }).first().click();
    await page.waitForURL(`**/ui/executions?status=${status}`);
    clicks += 1;
  }
  await page.locator(`#row-${id}`).click();
  await page.waitForURL(`**/ui/executions/${id}`);
  return clicks + 1;
}

for (const [kind, { make, says }] of Object.entries(KINDS) as [WaitKind, (typeof KINDS)[WaitKind]][]) {
  test(`what waits for this says so, ${CLICKS_MAX} clicks from what happens now: ${kind}`, async () => {
    const id = await waiting(await make(), kind);
    const watched = await rig.loggedIn('/ui/now');
    const { page } = watched;
    expect(await clicksTo(page, id, IN_LIST[kind])).toBeLessThanOrEqual(CLICKS_MAX);
    await page.getByText(says).first().waitFor();
    await watched.expectNoFaults();
    await watched.close();
  });
}
