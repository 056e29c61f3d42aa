/** Each screen without a finding of axe, light and dark, wide and narrow. No rule is switched off. */

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PHONE, Watched, launch } from '../support/browser.ts';
import { Node } from '../support/node.ts';
import { filled, sideways, visit } from '../support/screens.ts';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];

let node: Node;
let browser: Browser;
let paths: string[];

beforeAll(async () => {
  [node, browser] = await Promise.all([Node.start(), launch()]);
  paths = await filled(node);
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
        await visit(page, path);
        expect(await findings(page), path).toEqual([]);
        expect(await sideways(page), path).toEqual([]);
      }
      await watched.expectNoFaults();
      await watched.close();
    }, 120_000);
  }
}
