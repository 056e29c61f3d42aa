/** Every screen of a node that has something to show on it. */

import type { Page, Request } from 'playwright-core';
import type { Node } from './node.ts';

/** How many frames in a row nothing is read, once a screen shows all of it. */
const QUIET_FRAMES = 4;

/** Gives a node with the usual packs something of everything, and returns the addresses of all screens, also of those without anything. */
export async function filled(node: Node): Promise<string[]> {
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
  return [
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
    '/ui/executions/019d3450-be07-7000-8000-070000000000',
    '/ui/now',
    '/ui/schedules',
    '/ui/sensors',
    '/ui/sensors/no.such',
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
    `/ui/rules/bill.noted?tab=try&event=${invoice}`,
    '/ui/rules/bill.noted?tab=why&verdict=erred',
    '/ui/rules/bill.noted?tab=matches',
    '/ui/rules/bill.any?tab=shadow',
    '/ui/rules/no.such',
    '/ui/packs',
    '/ui/packs/bill',
    '/ui/packs/bill/files/rules/noted.yaml',
    '/ui/packs/bill/files/no/such.yaml',
    '/ui/packs/bill/defines/action/bill.such',
    `/ui/executions/${parent}?as_of=1000000`,
    `/ui/executions/${parent}?tab=attempts&as_of=${head}`,
    `/ui/inbox/${id}?as_of=${head}`,
    `/ui/events/${event}?as_of=${head}`,
    `/ui/rules/bill.big?as_of=${head}`,
    `/ui/trace/${event}?as_of=${head}`,
    `/ui/trace/${event}?view=graph`,
  ];
}

/** Requests of a page that have not been answered yet. */
const waiting = new WeakMap<Page, Set<Request>>();

/** Opens an address, and waits until its screen shows what it reads. */
export async function visit(page: Page, path: string): Promise<void> {
  const open = waiting.get(page) ?? followed(page);
  open.clear();
  await page.goto(path);
  await page.getByRole('main').locator('h1, h2, .page').first().waitFor();
  await settled(page);
}

/** Waits until every request is answered and shown, and no other follows from it. */
export async function settled(page: Page): Promise<void> {
  const open = waiting.get(page) ?? followed(page);
  for (let quiet = 0; quiet < QUIET_FRAMES; quiet += 1) {
    const isLoading = await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => done(document.querySelector('.skeleton') !== null))));
    if (open.size > 0 || isLoading) quiet = -1;
  }
}

function followed(page: Page): Set<Request> {
  const open = new Set<Request>();
  waiting.set(page, open);
  page.on('request', (request) => {
    // A stream has no end, and that of a worker is not reported.
    const isEndless = request.headers().accept?.includes('text/event-stream') || request.url().endsWith('/worker.js');
    if (!isEndless) open.add(request);
  });
  page.on('requestfinished', (request) => open.delete(request));
  page.on('requestfailed', (request) => open.delete(request));
  return open;
}

/** Returns what makes a reader scroll sideways: the window, or the frame around a screen. Parts of a screen may scroll by themselves. */
export function sideways(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const main = document.querySelector('main');
    const found: string[] = [];
    if (document.documentElement.scrollWidth > innerWidth) found.push('the window scrolls sideways');
    if (!main || main.scrollWidth <= main.clientWidth) return found;
    const right = main.getBoundingClientRect().left + main.clientWidth;
    const wide = [...main.querySelectorAll('*')].filter((part) => part.getBoundingClientRect().right > right + 0.5);
    const outermost = wide.filter((part) => !wide.some((other) => other !== part && other.contains(part)));
    return [...found, ...outermost.map((part) => `<${part.tagName.toLowerCase()} class="${part.className}"> is wider than the screen: ${part.textContent?.slice(0, 40)}`)];
  });
}
