/** Each screen without a finding of axe, light and dark, wide and narrow. No rule is switched off. */

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PHONE, Watched, launch } from '../support/browser.ts';
import { Node } from '../support/node.ts';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];

let node: Node;
let browser: Browser;
let paths: string[];

beforeAll(async () => {
  [node, browser] = await Promise.all([Node.start(), launch()]);
  await node.order('X1');
  const { id, parent } = await node.question('X1');
  const { items: steps } = await node.ask<{ items: { id: string }[] }>('GET', `/executions?parent=${parent}`);
  await node.ask('POST', '/identities', { name: 'ana', kind: 'person', groups: ['release'] });
  await node.ask('POST', '/grants', { subject: 'identity:ana', role: 'viewer', on: { packs: ['shop'] } });
  await node.ask('POST', '/tokens', { name: 'ana-laptop', identity: 'ana' });
  await node.ask('PUT', '/keys/shop.key', { value: 'a value that is long enough' });
  await node.ask('PUT', '/vars/shop.var', { value: { most: 3 } });
  const { event } = await node.ask<{ event: string }>('GET', `/executions/${parent}`);
  const { id: invoice } = await node.ask<{ id: string }>('POST', '/events', { trigger: 'bill.invoice', payload: { id: 'X2', amount: 1.5 } });
  const { position: head } = await node.ask<{ position: number }>('GET', '/log/head');
  paths = [
    '/ui/me',
    '/ui/inbox',
    '/ui/inbox?status=expired',
    `/ui/inbox/${id}`,
    '/ui/executions',
    '/ui/executions?action=no.such',
    `/ui/executions/${parent}`,
    `/ui/executions/${parent}?tab=output`,
    `/ui/executions/${parent}?tab=data`,
    `/ui/executions/${parent}?tab=graph&step=approve`,
    `/ui/executions/${parent}?tab=timeline&step=build&fold=true`,
    `/ui/executions/${parent}?tab=attempts`,
    `/ui/executions/${parent}?tab=files`,
    `/ui/executions/${parent}?tab=records`,
    `/ui/executions/${parent}/against/last_success`,
    `/ui/executions/${parent}/against/${steps[0]?.id}`,
    `/ui/executions/${steps[0]?.id}?tab=attempts`,
    `/ui/executions/${parent}?as_of=1000000`,
    `/ui/executions/${parent}?tab=attempts&as_of=${head}`,
    `/ui/inbox/${id}?as_of=${head}`,
    `/ui/events/${event}?as_of=${head}`,
    `/ui/rules/bill.big?as_of=${head}`,
    `/ui/trace/${event}?as_of=${head}`,
    `/ui/trace/${event}?view=graph`,
    '/ui/executions/019d3450-be07-7000-8000-070000000000',
    '/ui/now',
    '/ui/schedules',
    '/ui/hooks',
    '/ui/hooks/no/such',
    '/ui/system',
    '/ui/waiting?kind=lock',
    '/ui/waiting?kind=queue',
    '/ui/waiting?kind=timer',
    '/ui/waiting?kind=parked',
    '/ui/waiting?kind=dead',
    '/ui/actions',
    '/ui/actions/shop.ship',
    '/ui/actions/shop.print/run',
    '/ui/people',
    '/ui/people/ana',
    '/ui/people?tab=grants',
    '/ui/people?tab=tokens',
    '/ui/people?tab=sessions',
    '/ui/people?tab=check',
    '/ui/audit',
    '/ui/audit?actor=nobody',
    '/ui/log',
    '/ui/log/5',
    '/ui/keys',
    '/ui/vars',
    '/ui/nowhere',
    '/ui/events',
    '/ui/events?trigger=no.such',
    `/ui/events/${invoice}`,
    `/ui/events/${invoice}?rule=bill.big&definitions=now`,
    '/ui/events/019d3450-be07-7000-8000-070000000000',
    `/ui/trace/${event}`,
    `/ui/trace/${invoice}`,
    '/ui/rules',
    '/ui/rules?pack=nosuch',
    '/ui/rules/bill.big',
    '/ui/rules/bill.noted?tab=try',
    '/ui/rules/bill.noted?tab=matches',
    '/ui/rules/bill.any?tab=shadow',
    '/ui/rules/no.such',
    '/ui/packs',
    '/ui/packs/bill',
    '/ui/packs/bill/files/rules/noted.yaml',
    '/ui/packs/bill/files/no/such.yaml',
  ];
});

afterAll(async () => {
  await browser?.close();
  await node?.stop();
});

/** Returns what axe finds, as sentences. It goes in by the debugger: the policy refuses a script tag. */
async function findings(page: Page): Promise<string[]> {
  await page.evaluate(AXE);
  return page.evaluate(async (tags) => {
    interface Found {
      violations: { id: string; nodes: { target: unknown; failureSummary?: string }[] }[];
    }
    const { axe } = globalThis as unknown as { axe: { run: (root: Document, options: object) => Promise<Found> } };
    const { violations } = await axe.run(document, { runOnly: tags });
    return violations.flatMap(({ id, nodes }) => nodes.map((at) => `${id}: ${String(at.target)}: ${at.failureSummary ?? ''}`));
  }, TAGS);
}

for (const colorScheme of ['light', 'dark'] as const) {
  for (const [size, options] of [['wide', {}], ['phone', PHONE]] as const) {
    test(`no screen has a finding: ${colorScheme}, ${size}`, async () => {
      const watched = await Watched.open(browser, node.url, { ...options, colorScheme });
      const { page } = watched;
      await page.goto('/ui/login');
      await page.getByLabel('Token').waitFor();
      expect(await findings(page), 'login').toEqual([]);
      await watched.logIn(node.token);
      for (const path of paths) {
        await page.goto(path);
        await page.getByRole('main').locator('h1, h2, .page').first().waitFor();
        await page.waitForTimeout(300);
        expect(await findings(page), path).toEqual([]);
        expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${path} scrolls sideways`).toBe(true);
      }
      await watched.expectNoFaults();
      await watched.close();
    }, 120_000);
  }
}
