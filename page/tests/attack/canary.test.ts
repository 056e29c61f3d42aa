/** Texts that would run, load or hide something are put wherever people and programs can put texts; then every screen is opened. */

import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Watched, launch } from '../support/browser.ts';
import { Node } from '../support/node.ts';
import { visit } from '../support/screens.ts';

const CANARIES = [
  '<img src=x onerror=alert(1)>',
  '"><svg onload=alert(1)>',
  '</script><script>alert(1)</script>',
  '<style>@import "https://evil.test/x.css";</style>',
  '[link](javascript:alert(1)) ![x](https://evil.test/x.png)',
  'javascript:alert(1) data:text/html,<script>alert(1)</script>',
  '{@html x} {{constructor.constructor("alert(1)")()}}',
  'gnp.\u202Eexe\u200B \u001b]52;c;aGVsbG8=\u0007 e\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301',
];
const NOTE = CANARIES.join('\n');

let node: Node;
let browser: Browser;
let execution: string;
let inquiry: string;
let invoice: string;

beforeAll(async () => {
  [node, browser] = await Promise.all([Node.start(), launch()]);
  await node.order('C<img src=x onerror=alert(1)>1', NOTE);
  ({ id: inquiry, parent: execution } = await node.question('C<img'));
  await node.ask('PUT', '/vars/shop.note', { value: { note: NOTE, __proto__: { note: NOTE } } });
  invoice = (await node.ask<{ id: string }>('POST', '/events', { trigger: 'bill.invoice', payload: { id: 'A<img src=x onerror=alert(1)>', amount: 500.5, note: NOTE } })).id;
  await node.ask('POST', '/actions/shop.print/execute', { params: { text: NOTE, lines: 1 } });
});

afterAll(async () => {
  await browser?.close();
  await node?.stop();
});

test('no text runs, loads or hides anything on any screen', async () => {
  const watched = await Watched.open(browser, node.url);
  const { page } = watched;
  await page.goto('/ui/executions');
  await watched.logIn(node.token);
  const { items } = await node.ask<{ items: { id: string }[] }>('GET', '/executions?limit=50');
  const tabs = items.flatMap(({ id }) => ['steps', 'graph', 'timeline', 'output', 'data', 'attempts', 'files', 'records'].map((tab) => `/ui/executions/${id}?tab=${tab}`));
  const paths = ['/ui/', '/ui/me', '/ui/inbox', `/ui/inbox/${inquiry}`, '/ui/executions', `/ui/executions?action=${encodeURIComponent(CANARIES[0] ?? '')}`, '/ui/nowhere'];
  const { event } = await node.ask<{ event: string }>('GET', `/executions/${execution}`);
  const odd = encodeURIComponent(CANARIES[0] ?? '');
  const why = [`/ui/events/${event}`, `/ui/events/${invoice}`, `/ui/events/${invoice}?rule=bill.big`, `/ui/trace/${event}`, `/ui/trace/${invoice}`, `/ui/trace/${invoice}?view=graph`];
  const { position: head } = await node.ask<{ position: number }>('GET', '/log/head');
  const past = [`/ui/events/${invoice}`, `/ui/executions/${execution}`, `/ui/inbox/${inquiry}`, '/ui/rules/bill.big', `/ui/trace/${event}`].flatMap((path) => [`${path}?as_of=${head}`, `${path}?as_of=${odd}`]);
  const rules = ['source', 'matches', 'shadow', 'try'].map((tab) => `/ui/rules/bill.noted?tab=${tab}`);
  const lists = ['/ui/events', `/ui/events?source=${encodeURIComponent(CANARIES[0] ?? '')}`, '/ui/rules', '/ui/packs', '/ui/packs/bill', '/ui/packs/bill/files/rules/noted.yaml'];
  const odds = ['/ui/rules/', '/ui/events/', '/ui/trace/', '/ui/packs/', '/ui/packs/bill/files/'].map((path) => `${path}${encodeURIComponent(CANARIES[0] ?? '')}`);
  const admin = ['/ui/actions', '/ui/actions/shop.print', '/ui/people', '/ui/audit', '/ui/log', '/ui/keys', '/ui/vars'];
  const given = encodeURIComponent(JSON.stringify({ text: NOTE, lines: 1 }));
  admin.push(`/ui/actions/shop.print/run?params=${given}`, `/ui/actions/${odd}`, `/ui/people/${odd}`, `/ui/log?actor=${odd}`, `/ui/audit?actor=${odd}`);
  const [first, second] = items;
  paths.push(`/ui/executions/${first?.id}/against/${second?.id}`);
  const waiting = ['lock', 'queue', 'timer', 'parked', 'dead'].map((kind) => `/ui/waiting?kind=${kind}`);
  for (const path of [...paths, ...admin, ...tabs, ...why, ...past, ...rules, ...lists, ...odds, '/ui/now', '/ui/schedules', '/ui/sensors', '/ui/hooks', '/ui/system', ...waiting]) {
    await visit(page, path);
    const planted = await page.evaluate(() => document.querySelectorAll('img, svg:not(.graph-lines, .rate-bars, [data-icon]), main script, style, [onerror], [onload], iframe').length);
    expect(planted, path).toBe(0);
    const text = await page.evaluate(() => document.body.innerText);
    expect(text, path).not.toMatch(/[\u202e\u200b\u001b\u0007]/);
  }
  await watched.expectNoFaults();
  await watched.close();
}, 600_000);

test('a text from outside is shown as it is', async () => {
  const watched = await Watched.open(browser, node.url);
  await watched.page.goto(`/ui/inbox/${inquiry}`);
  await watched.logIn(node.token);
  await watched.page.getByRole('heading', { name: 'Ship C<img src=x onerror=alert(1)>1?' }).waitFor();
  for (const canary of CANARIES.slice(0, 6)) expect(await watched.page.locator('main').innerText()).toContain(canary);
  await watched.page.goto(`/ui/executions/${execution}`);
  await watched.page.getByText('order=C<img src=x onerror=alert(1)>1').first().waitFor();
  await watched.expectNoFaults();
  await watched.close();
});

test('a payload and the values of a condition are shown as they are', async () => {
  const watched = await Watched.open(browser, node.url);
  const { page } = watched;
  await page.goto(`/ui/events/${invoice}?rule=bill.big`);
  await watched.logIn(node.token);
  const shown = '"A<img src=x onerror=alert(1)>"';
  await page.locator('[data-field="id"]').getByText(shown).waitFor();
  await page.locator('[data-rule="bill.big"]').getByText(`event.payload.id = ${shown}`).first().waitFor();
  await page.locator('[data-rule="bill.big"]').getByRole('button', { name: 'Try another value' }).click();
  await page.locator('[data-rule="bill.big"]').getByLabel('id', { exact: true }).fill('A"><svg onload=alert(1)>');
  await page.locator('[data-rule="bill.big"] [data-answer]').getByText('It would match').waitFor();
  expect(await page.evaluate(() => document.querySelectorAll('img, svg:not([data-icon]), [onload], main script').length)).toBe(0);
  await watched.expectNoFaults();
  await watched.close();
});

test('no secret is stored in the browser', async () => {
  const watched = await Watched.open(browser, node.url);
  await watched.page.goto('/ui/me');
  await watched.logIn(node.token);
  await watched.page.getByRole('heading', { name: 'Sessions' }).waitFor();
  const stored = await watched.page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href]));
  expect(stored).not.toContain('ens_');
  expect(stored).not.toContain(node.token);
  await watched.close();
});

test('a script of the policy is refused', async () => {
  const watched = await Watched.open(browser, node.url);
  await watched.page.goto('/ui/');
  const ran = await watched.page.evaluate(() => {
    const script = document.createElement('script');
    try {
      script.textContent = 'globalThis.ran = 1';
    } catch {
      return 'refused';
    }
    document.body.append(script);
    return (globalThis as { ran?: number }).ran === 1 ? 'ran' : 'refused';
  });
  expect(ran).toBe('refused');
  await watched.close();
});
