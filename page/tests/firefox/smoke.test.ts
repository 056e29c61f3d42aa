/** The second engine: what people do every day works in Firefox too. */

import type { Browser } from 'puppeteer-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Tab, isSkipped, launchFirefox } from '../support/firefox.ts';
import { Node } from '../support/node.ts';

/** More than the connections that a browser opens to one node, so that each needs the stream of the others. */
const TABS = 8;

describe.skipIf(isSkipped)('in firefox-esr', () => {
  let node: Node;
  let browser: Browser;
  let token: string;

  beforeAll(async () => {
    [node, browser] = await Promise.all([Node.start(), launchFirefox()]);
    await node.ask('PUT', '/roles/shippers', { permissions: ['inquiries:read', 'inquiries:answer'] });
    token = await node.tokenOf('maria', ['shippers', 'approver', 'admin']);
  });

  afterAll(async () => {
    await browser?.close();
    await node?.stop();
  });

  test('somebody logs in with a token, finds a question in the inbox, and answers it', async () => {
    await node.order('Firefox-1');
    const { id, parent } = await node.question('Firefox-1');
    const tab = await Tab.open(browser, node.url, '/ui/inbox');
    await tab.logIn(token);
    await tab.shows('Ship Firefox-1?');
    await tab.page.locator(`#row-${id}`).click();
    await tab.isAt(`/ui/inbox/${id}`);
    await tab.page.locator('::-p-xpath(//label[contains(., "Yes")])').click();
    await tab.click('Answer and decide', 'button');
    await tab.shows('Your answer decided it.');
    expect(await node.ask('GET', `/inquiries/${id}`)).toMatchObject({ status: 'answered', answer: { ship: true } });
    await tab.go(`/ui/executions/${parent}`);
    await tab.shows('succeeded', 'main');
    for (const step of ['build', 'approve', 'deploy']) await tab.shows(step, 'main');
    await tab.click('Graph', 'link');
    await tab.page.waitForSelector('[data-step="deploy"]');
    await tab.close();
  });

  test('a list is filtered, and a row of it opened, by keyboard alone', async () => {
    const { id } = await node.ask<{ id: string }>('POST', '/actions/shop.print/execute', { params: { text: 'from firefox', lines: 2 } });
    const tab = await Tab.open(browser, node.url, '/ui/now');
    const { keyboard } = tab.page;
    await tab.page.waitForSelector('h1, h2');
    await keyboard.press('g');
    await keyboard.press('x');
    await tab.isAt('/ui/executions');
    await tab.page.waitForSelector(`#row-${id}`);
    await keyboard.press('/');
    await keyboard.type('action:shop.print is_root:true');
    await keyboard.press('Enter');
    await tab.isAt('/ui/executions?action=shop.print&is_root=true');
    await tab.page.waitForFunction(() => document.querySelectorAll('[role="row"]').length === 1);
    await tab.page.waitForSelector(`#row-${id}`);
    await keyboard.press('Escape');
    await keyboard.press('j');
    await tab.page.waitForFunction((row) => document.activeElement?.id === row, {}, `row-${id}`);
    await keyboard.press('Enter');
    await tab.isAt(`/ui/executions/${id}`);
    await tab.click('Output', 'link');
    await tab.shows('line 2');
    await keyboard.press('?');
    await tab.page.waitForSelector('dialog[open]');
    await keyboard.press('Escape');
    await tab.page.waitForFunction(() => !document.querySelector('dialog[open]'));
    await tab.close();
  });

  test('several tabs show a change through one stream, and one more loads', async () => {
    const tabs: Tab[] = [];
    for (let at = 0; at < TABS; at += 1) {
      const tab = await Tab.open(browser, node.url, '/ui/executions?action=core.noop');
      await tab.shows('No execution fits this filter.');
      tabs.push(tab);
    }
    const { id } = await node.ask<{ id: string }>('POST', '/actions/core.noop/execute', { params: {} });
    for (const tab of tabs) {
      await tab.page.bringToFront();
      await tab.page.waitForSelector(`#row-${id}`);
    }
    for (const tab of tabs) await tab.close();
  });
});
