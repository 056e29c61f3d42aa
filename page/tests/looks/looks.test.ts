/** The main screens look as they did: compared with kept pictures, pixel by pixel, where the same chromium and fonts draw them. */

import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PHONE, Watched, launch } from '../support/browser.ts';
import { Node } from '../support/node.ts';
import { settled, visit } from '../support/screens.ts';
import { filled } from './data.ts';
import { mask } from './mask.ts';
import { all, bytes, differs, keep, keptVersions, renew, versions } from './pictures.ts';

/** Whether the pictures are made again instead of compared: `npm run looks`. */
const isRenewing = process.env.ENSUE_LOOKS === 'renew';
/** What all pictures may have together: they are in every clone. */
const BYTES_MAX = 2_000_000;
const SIZES = { wide: { viewport: { width: 1_280, height: 800 } }, phone: PHONE };
const THEMES = ['light', 'dark'] as const;

/** The packs of two folders together. */
const packs = mkdtempSync(join(tmpdir(), 'ensue-looks-'));

let node: Node;
let browser: Browser;
let screens: Map<string, string>;
let shown: string;
let token: string;

beforeAll(async () => {
  for (const folder of ['packs', 'night']) cpSync(resolve(import.meta.dirname, '..', folder), packs, { recursive: true });
  [node, browser] = await Promise.all([Node.start(packs), launch(['--disable-lcd-text'])]);
  shown = versions(browser);
  screens = await filled(node);
  token = await node.tokenOf('maria', ['admin', 'approver', 'shippers']);
  if (isRenewing) renew(shown);
});

afterAll(async () => {
  await browser?.close();
  await node?.stop();
  rmSync(packs, { recursive: true });
});

/** Returns the picture of what a page shows in a theme, without what is different each time. */
async function picture({ page }: Watched, colorScheme: (typeof THEMES)[number]): Promise<Buffer> {
  await settled(page);
  await mask(page);
  // Another theme paints everything again. Otherwise what the mask moved by parts of a pixel stays as it was.
  for (const theme of [...THEMES.filter((other) => other !== colorScheme), colorScheme]) {
    await page.emulateMedia({ colorScheme: theme });
    await settled(page);
  }
  return page.screenshot({ animations: 'disabled' });
}

for (const [size, options] of Object.entries(SIZES)) {
  test(`every main screen looks as its picture: ${size}`, async ({ skip }) => {
    if (keptVersions() !== shown) skip('the pictures were drawn by another chromium or with other fonts: page/tests/looks/VERSIONS');
    const watched = await Watched.open(browser, node.url, { ...options, reducedMotion: 'reduce', timezoneId: 'UTC', locale: 'en-US' });
    const { page } = watched;
    // Otherwise the page writes its times again each second.
    await page.clock.setFixedTime(new Date());
    await page.goto('/ui/login');
    await watched.logIn(token);
    const differing: string[] = [];
    for (const [screen, path] of screens) {
      await visit(page, path);
      for (const colorScheme of THEMES) {
        const name = `${screen}.${size}.${colorScheme}`;
        const now = await picture(watched, colorScheme);
        if (isRenewing) keep(name, now);
        const difference = differs(name, now);
        if (difference) differing.push(difference);
      }
    }
    expect(differing, 'if that is meant, `npm run looks` in page/ makes the pictures again').toEqual([]);
    await watched.expectNoFaults();
    await watched.close();
  }, 300_000);
}

test('there is a picture of every screen and no other, and together they are small', () => {
  const names = [...screens.keys()].flatMap((screen) => Object.keys(SIZES).flatMap((size) => THEMES.map((theme) => `${screen}.${size}.${theme}`)));
  expect(all().toSorted()).toEqual(names.toSorted());
  expect(bytes()).toBeLessThanOrEqual(BYTES_MAX);
});
