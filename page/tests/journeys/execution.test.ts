import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { PHONE, Watched } from '../support/browser.ts';
import type { Node } from '../support/node.ts';
import { Rig } from '../support/rig.ts';

let node: Node;

const rig = Rig.for('packs', {}, async (started) => {
  node = started;
});

async function ran(action: string, params: object): Promise<string> {
  const { id } = await node.ask<{ id: string }>('POST', `/actions/${action}/execute`, { params });
  await ended(id);
  return id;
}

async function ended(id: string): Promise<void> {
  await node.until(async () => ((await node.ask<{ ended_at: string | null }>('GET', `/executions/${id}`)).ended_at ? true : undefined));
}

const ITEMS = 2_000;

test(`a failed item among ${ITEMS} is on the screen at once, in the list and on the timeline`, async () => {
  const id = await ran('mill.batch', { items: Array.from({ length: ITEMS }, (_, at) => at), bad: 1_777 });
  const watched = await rig.loggedIn(`/ui/executions/${id}`);
  const { page } = watched;
  await page.getByRole('link', { name: 'item 1,777', exact: true }).waitFor();
  expect(await page.getByRole('button', { name: 'grind' }).getAttribute('aria-expanded')).toBe('true');
  await page.getByText('item 1777 is broken').last().waitFor();
  await page.getByRole('link', { name: 'Timeline' }).click();
  const rows = page.getByRole('region', { name: 'When each step ran' });
  await rows.getByRole('link', { name: 'grind[1,777]' }).waitFor();
  await rows.getByRole('button', { name: 'Show each of grind' }).click();
  await rows.getByRole('button', { name: 'Show grind as one row' }).waitFor();
  expect(Number(await rows.locator('li').first().getAttribute('aria-setsize'))).toBe(ITEMS + 3);
  for (const place of [0, 0.5, 1]) {
    await rows.evaluate((box, share) => (box.scrollTop = box.scrollHeight * share), place);
    await page.waitForTimeout(100);
    expect(await rows.locator('li').count()).toBeLessThanOrEqual(60);
    expect(await rows.locator('li').count()).toBeGreaterThan(5);
  }
  await rows.getByRole('link', { name: `grind[1,999]` }).click();
  await page.getByRole('heading', { name: 'mill.check' }).waitFor();
  await watched.expectNoFaults();
  await watched.close();
}, 120_000);

test('the graph shows a step to come, and the list, the graph and the timeline choose the same step', async () => {
  await node.order('G1');
  const { parent } = await node.question('G1');
  const watched = await rig.loggedIn(`/ui/executions/${parent}?tab=graph`);
  const { page } = watched;
  const graph = page.getByRole('region', { name: 'Graph' });
  const deploy = graph.getByRole('link', { name: /deploy.*not yet.*after approve/ });
  await deploy.waitFor();
  expect(await deploy.evaluate((box) => getComputedStyle(box).borderTopStyle)).toBe('dashed');
  expect(await graph.locator('path.dashed').count()).toBe(1);
  await graph.getByRole('link', { name: /^build/ }).focus();
  await page.keyboard.press('ArrowRight');
  await page.waitForURL(/step=approve/);
  expect(await page.evaluate(() => (document.activeElement as HTMLElement).dataset.step)).toBe('approve');
  await page.keyboard.press('ArrowRight');
  await page.waitForURL(/step=deploy/);
  await page.getByRole('heading', { name: 'Step deploy' }).waitFor();
  await page.getByText('steps.approve.answer.ship').waitFor();
  await page.getByRole('link', { name: 'Steps', exact: true }).click();
  expect(await page.getByRole('button', { name: 'deploy' }).getAttribute('aria-expanded')).toBe('true');
  await page.getByRole('button', { name: 'approve', exact: true }).click();
  await page.getByRole('link', { name: 'Timeline' }).click();
  await page.getByRole('heading', { name: 'Step approve' }).waitFor();
  await page.getByRole('link', { name: 'Fold idle time' }).click();
  await page.waitForURL(/fold=true/);
  await watched.expectNoFaults();
  await watched.close();
});

test('a part of the timeline is chosen by dragging over the whole, and is in the address', async () => {
  const id = await ran('mill.line', { order: 'loud', fails: false });
  const watched = await rig.loggedIn(`/ui/executions/${id}?tab=timeline`);
  const { page } = watched;
  const canvas = page.locator('canvas');
  await canvas.waitFor();
  const box = await canvas.boundingBox();
  if (!box) throw new Error('the overview has no place');
  await page.mouse.move(box.x + box.width * 0.25, box.y + 30);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.5, box.y + 30, { steps: 4 });
  await page.mouse.up();
  await page.waitForURL(/view=0\.2[45]\d*-0\.(5|49)/);
  await page.getByRole('button', { name: 'The whole' }).click();
  await expect.poll(() => page.url()).not.toContain('view=');
  await page.getByRole('link', { name: 'over 10 % of the whole' }).click();
  await page.waitForURL(/share=0\.1/);
  await watched.expectNoFaults();
  await watched.close();
});

test('an execution is rerun from what failed, after a preview of what runs and what is taken over', async () => {
  const id = await ran('mill.two', { order: 'R1' });
  const watched = await rig.loggedIn(`/ui/executions/${id}`);
  const { page } = watched;
  await page.getByRole('button', { name: 'Rerun from what failed' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.locator('.runs', { hasText: 'break' }).waitFor();
  expect(await dialog.locator('.runs').allTextContents()).toEqual(['break']);
  expect(await dialog.locator('.kept').allTextContents()).toEqual(['make']);
  expect((await node.ask<{ items: unknown[] }>('GET', `/executions?rerun_of=${id}`)).items.length).toBe(0);
  await dialog.getByLabel('From the start').check();
  await expect.poll(() => dialog.locator('.runs').allTextContents()).toEqual(['make', 'break']);
  await dialog.getByLabel('From a step').check();
  await dialog.getByLabel('Step', { exact: true }).selectOption('break');
  await expect.poll(() => dialog.locator('.kept').allTextContents()).toEqual(['make']);
  await dialog.getByRole('button', { name: 'Rerun', exact: true }).click();
  await page.waitForURL((address) => address.pathname.startsWith('/ui/executions/') && !address.pathname.includes(id));
  await page.getByText('taken over from the execution that it reruns').waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

test('a rerun with a changed parameter sends only that one, and is compared with the run before', async () => {
  const id = await ran('mill.line', { order: 'P1', fails: true });
  const watched = await rig.loggedIn(`/ui/executions/${id}`);
  const { page } = watched;
  await page.getByRole('button', { name: 'Rerun', exact: true }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('textbox', { name: 'order' }).waitFor();
  expect(await dialog.getByRole('textbox', { name: 'order' }).inputValue()).toBe('P1');
  expect(await dialog.getByLabel('Yes').isChecked()).toBe(true);
  await dialog.getByLabel('No', { exact: true }).check();
  await dialog.getByText('As a command').click();
  await dialog.getByText(`ensue executions rerun ${id} --from start --param 'fails:=false'`).waitFor();
  await dialog.getByRole('button', { name: 'Rerun', exact: true }).click();
  await page.waitForURL((address) => !address.pathname.includes(id));
  const rerun = page.url().split('/').at(-1) ?? '';
  await ended(rerun);
  expect(await node.ask('GET', `/executions/${rerun}`)).toMatchObject({ status: 'succeeded', params: { order: 'P1', fails: false } });
  const again = await ran('mill.line', { order: 'P2', fails: true });
  await page.goto(`/ui/executions/${again}`);
  await page.getByRole('link', { name: 'Against the last success' }).click();
  await page.getByRole('heading', { name: 'What differs' }).waitFor();
  await page.getByRole('row', { name: '/fails true false' }).waitFor();
  await page.getByRole('row', { name: /^press/ }).waitFor();
  const first = await ran('mill.press', { order: 'x', fails: true });
  await page.goto(`/ui/executions/${first}/against/${again}`);
  await page.getByRole('row', { name: /^Action/ }).waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

test('an execution that never succeeded says so instead of a comparison', async () => {
  const id = await ran('mill.two', { order: 'N1' });
  const watched = await rig.loggedIn(`/ui/executions/${id}/against/last_success`);
  await watched.page.getByText('No execution of the same action and rule succeeded before this one.').waitFor();
  await watched.close();
});

test('attempts are side by side with their delay and output, and a file is downloaded, never shown', async () => {
  const parent = await ran('mill.line', { order: 'F1', fails: true });
  const { items } = await node.ask<{ items: { id: string }[] }>('GET', `/executions?parent=${parent}&action=mill.press`);
  const watched = await rig.loggedIn(`/ui/executions/${items[0]?.id}?tab=attempts`);
  const { page } = watched;
  await page.getByRole('heading', { name: 'Attempt 2' }).waitFor();
  await page.getByText('Next attempt after').waitFor();
  await page.getByRole('link', { name: 'Its output' }).last().click();
  await page.getByText('This is the output of attempt 1.').waitFor();
  await page.getByText('pressing F1').waitFor();
  await page.getByRole('link', { name: 'Files' }).click();
  const download = page.waitForEvent('download');
  await page.getByRole('link', { name: 'Download report.html' }).first().click();
  expect((await download).suggestedFilename()).toBe('report.html');
  await page.getByRole('link', { name: 'Records' }).click();
  await page.getByText('step press requested mill.press').waitFor();
  await page.getByRole('button', { name: /Show the record/ }).first().click();
  await page.getByRole('region', { name: 'The record' }).getByText('"kind": "execution.requested"').waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

test('a caller who may not read the log sees the records in words only, and no button that would be refused', async () => {
  const id = await ran('mill.line', { order: 'V1', fails: true });
  await node.ask('PUT', '/roles/watcher', { permissions: ['executions:read'] });
  const token = await node.tokenOf('wanda', ['watcher']);
  const watched = await Watched.open(rig.browser, node.url);
  const { page } = watched;
  await page.goto(`/ui/executions/${id}?tab=records`);
  await watched.logIn(token);
  await page.getByText(/was requested/).first().waitFor();
  expect(await page.getByRole('button', { name: /Show the record|Rerun|Cancel|Pause/ }).count()).toBe(0);
  await page.goto('/ui/executions?action=mill.line');
  await page.getByRole('row').first().waitFor();
  expect(await page.getByRole('button', { name: 'All of these…' }).count()).toBe(0);
  await watched.expectNoFaults();
  await watched.close();
});

test('a cancel says what it undoes, and a pause is taken back', async () => {
  await node.order('K1');
  const { parent } = await node.question('K1');
  const watched = await rig.loggedIn(`/ui/executions/${parent}`);
  const { page } = watched;
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Pause the execution' }).click();
  await page.getByText('Is paused until somebody resumes it').waitFor();
  await page.getByRole('button', { name: 'Resume' }).click();
  await page.getByRole('button', { name: 'Pause' }).waitFor();
  await page.keyboard.press('c');
  const dialog = page.getByRole('dialog');
  await dialog.getByText('A second cancel ends the cleanup as well.').waitFor();
  expect(await dialog.locator('dd').allTextContents()).toEqual(['approve', 'build']);
  await dialog.getByRole('button', { name: 'Cancel the execution' }).click();
  await expect.poll(async () => (await node.ask<{ status: string }>('GET', `/executions/${parent}`)).status).toBe('cancelled');
  await page.getByRole('button', { name: 'Rerun from what failed' }).waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

/** Waits until a dialog shows this, and returns the text of its status. */
async function statusOf(page: Page): Promise<string> {
  return (await page.getByRole('dialog').getByRole('status').textContent()) ?? '';
}

const HELD = 1_204;

test(`${HELD} executions are cancelled by filter, and the stop button stops`, async () => {
  const ids = Array.from({ length: HELD }, (_, at) => at);
  const workers = Array.from({ length: 16 }, async () => {
    for (let at = ids.pop(); at !== undefined; at = ids.pop()) await node.ask('POST', '/actions/mill.hold/execute', { params: { order: `H${at}` } });
  });
  await Promise.all(workers);
  const open = async (): Promise<number> =>
    (await node.ask<{ total: number }>('GET', '/counts?of=executions&action=mill.hold&status=waiting')).total;
  await node.until(async () => ((await open()) === HELD ? true : undefined));
  const watched = await rig.loggedIn('/ui/executions?action=mill.hold&status=waiting');
  const { page } = watched;
  await page.getByRole('button', { name: 'All of these…' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('1,204 executions').first().waitFor();
  await dialog.getByText('Checked: it would be done with 1,204 executions.').waitFor({ timeout: 30_000 });
  expect(await open()).toBe(HELD);
  // What is requested after the dialog was opened is not meant.
  await page.waitForTimeout(50);
  const { id: later } = await node.ask<{ id: string }>('POST', '/actions/mill.hold/execute', { params: { order: 'later' } });
  await dialog.getByRole('button', { name: 'Cancel the 1,204' }).click();
  await dialog.getByRole('button', { name: 'Stop' }).click();
  await dialog.getByText(/^Stopped after/).waitFor();
  const cancelled = Number(/\d+/.exec((await statusOf(page)).replaceAll(',', ''))?.[0]);
  expect(cancelled).toBeGreaterThan(0);
  expect(cancelled).toBeLessThan(HELD);
  // What was requested after the dialog was opened is open as well. An execution ends soon after its cancel is accepted.
  await expect.poll(open).toBe(HELD + 1 - cancelled);
  await page.waitForTimeout(500);
  expect(await open()).toBe(HELD + 1 - cancelled);
  await dialog.getByRole('button', { name: 'Go on' }).click();
  await expect.poll(() => statusOf(page), { timeout: 60_000 }).toBe('Done: 1,204.');
  await node.until(async () => ((await open()) === 1 ? true : undefined));
  expect(await node.ask('GET', `/executions/${later}`)).toMatchObject({ status: 'waiting' });
  await watched.expectNoFaults();
  await watched.close();
}, 180_000);

test('a filter that a bulk action does not have is named, and a rerun by filter leaves out what was rerun', async () => {
  const id = await ran('mill.press', { order: 'B1', fails: true });
  await ran('mill.press', { order: 'B2', fails: true });
  await node.ask('POST', `/executions/${id}/rerun`, {});
  const watched = await rig.loggedIn('/ui/executions?action=mill.press&attempts_min=2');
  const { page } = watched;
  await page.getByRole('row').first().waitFor();
  await page.getByRole('button', { name: 'All of these…' }).click();
  await page.getByText('This cannot be done with the filter attempts_min.').waitFor();
  await page.keyboard.press('Escape');
  await page.goto('/ui/executions?action=mill.press&status=failed');
  await page.getByRole('button', { name: 'All of these…' }).click();
  await page.getByRole('dialog').getByLabel('Rerun them').check();
  await page.getByRole('dialog').getByText('1 were rerun before, and are left out.').waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

test('a graph and a timeline fit a phone', async () => {
  const id = await ran('mill.line', { order: 'M1', fails: false });
  const watched = await rig.loggedIn(`/ui/executions/${id}?tab=graph`, node.token, PHONE);
  const { page } = watched;
  await page.getByRole('link', { name: /^press/ }).waitFor();
  for (const tab of ['graph', 'timeline', 'records', 'steps']) {
    await page.goto(`/ui/executions/${id}?tab=${tab}`);
    await page.waitForTimeout(300);
    expect(await page.evaluate(() => document.documentElement.scrollWidth), tab).toBeLessThanOrEqual(390);
  }
  await watched.expectNoFaults();
  await watched.close();
});

test('an attempt that was lost is decided with what is known of it', async () => {
  const { id } = await node.ask<{ id: string }>('POST', '/actions/mill.hang/execute', { params: { order: 'L1' } });
  const supervisor = await node.until(async () => {
    const { items } = await node.ask<{ items: { text: string }[] }>('GET', `/executions/${id}/logs`);
    return items.map((output) => /watched by (\d+)/.exec(output.text)?.[1]).find((pid) => pid !== undefined);
  });
  expect(Number(supervisor)).toBeGreaterThan(1);
  process.kill(Number(supervisor), 'SIGKILL');
  await node.until(async () => ((await node.ask<{ status: string }>('GET', `/executions/${id}`)).status === 'indeterminate' ? true : undefined));
  const watched = await rig.loggedIn(`/ui/executions/${id}`);
  const { page } = watched;
  await page.getByRole('button', { name: 'Decide the outcome' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('half of the order is sent').waitFor();
  await dialog.getByText('It may have begun its work when it was lost.').waitFor();
  expect(await dialog.getByRole('button', { name: 'Record the outcome' }).isDisabled()).toBe(true);
  await dialog.getByRole('radio', { name: /It failed/ }).check();
  await dialog.getByRole('button', { name: 'Record the outcome' }).click();
  await dialog.getByText('This is required.').waitFor();
  await dialog.getByLabel('Why it failed').fill('the order was sent in part');
  await dialog.getByRole('button', { name: 'Record the outcome' }).click();
  await dialog.waitFor({ state: 'detached' });
  await expect.poll(async () => (await node.ask<{ status: string }>('GET', `/executions/${id}`)).status).toBe('failed');
  await page.getByText('the order was sent in part').first().waitFor();
  await watched.expectNoFaults();
  await watched.close();
});
