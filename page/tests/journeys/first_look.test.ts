/** What a browser shows at first sight: no error in its console, no empty box instead of an icon, and the way out. */

import type { Page } from 'playwright-core';
import { beforeAll, expect, test } from 'vitest';
import { Watched } from '../support/browser.ts';
import type { Node } from '../support/node.ts';
import { Rig } from '../support/rig.ts';
import { filled, visit } from '../support/screens.ts';

/** Addresses of things that do not exist: the node says so, and the browser calls each such answer an error. */
const MISSING = /no[./]such|019d3450-|as_of=1000000|against\/last_success/;

let node: Node;
let paths: string[];

const rig = Rig.for('packs', {}, async (started) => {
  node = started;
  paths = await filled(node);
});

/** What was seen on the way through all screens. */
const faults: string[] = [];
const glyphs: string[] = [];
const backticks: string[] = [];
let codes = 0;

/** Notes what the browser reports in its console, and each answer that is a refusal. */
function listen(page: Page, at: () => string): void {
  const note = (what: string): void => {
    if (!MISSING.test(at())) faults.push(`${at()}: ${what}`);
  };
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) note(`${message.type()}: ${message.text()}`);
  });
  page.on('response', (response) => {
    if (response.status() >= 400) note(`${response.status()} ${response.url()}`);
  });
  page.on('requestfailed', (request) => {
    // Leaving a screen ends what it still reads.
    if (request.failure()?.errorText !== 'net::ERR_ABORTED') note(`${request.failure()?.errorText} ${request.url()}`);
  });
}

/** Returns the texts with a symbol that a font may lack, and those with a backtick that is not part of code. */
function textsOf(page: Page): Promise<{ symbols: string[]; marked: string[]; codes: number }> {
  return page.evaluate(() => {
    const [symbols, marked]: [string[], string[]] = [[], []];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let text = walker.nextNode(); text; text = walker.nextNode()) {
      const [shown, parent] = [text.textContent ?? '', text.parentElement];
      // Fonts have the letters of ASCII, and these signs since there were fonts for the web.
      if (/[\p{S}\p{Co}]/u.test(shown.replace(/[\u0020-\u007e→−×]/g, ''))) symbols.push(shown);
      if (shown.includes('`') && !parent?.closest('pre, code, textarea')) marked.push(shown);
    }
    return { symbols, marked, codes: document.querySelectorAll('main bdi code').length };
  });
}

beforeAll(async () => {
  const watched = await Watched.open(rig.browser, node.url);
  const { page } = watched;
  let path = '/ui/login';
  listen(page, () => path);
  await page.goto(path);
  await watched.logIn(node.token);
  for (path of paths) {
    await visit(page, path);
    const { symbols, marked, codes: count } = await textsOf(page);
    glyphs.push(...symbols.map((text) => `${path}: ${text}`));
    backticks.push(...marked.map((text) => `${path}: ${text}`));
    codes += count;
  }
  await watched.expectNoFaults();
  await watched.close();
}, 300_000);

test('no screen puts an error into the console of a browser that has just logged in', () => {
  expect(faults).toEqual([]);
});

test('no icon is a letter that a font may lack', () => {
  expect(glyphs).toEqual([]);
});

test('messages of the node show code as code', () => {
  expect(backticks).toEqual([]);
  expect(codes).toBeGreaterThan(0);
});

for (const [locale, name] of [['en-US', 'Log out'], ['de-AT', 'Abmelden']] as const) {
  test(`the button "${name}" is inside of a window of any width, and logs out`, async () => {
    const watched = await Watched.open(rig.browser, node.url, { locale });
    const { page } = watched;
    await page.goto('/ui/system');
    await page.getByLabel('Token').fill(node.token);
    await page.getByRole('button', { name: locale === 'en-US' ? 'Log in' : 'Anmelden' }).click();
    const button = page.getByRole('button', { name });
    for (const width of [1_440, 1_024, 390]) {
      await page.setViewportSize({ width, height: 844 });
      const box = await button.boundingBox();
      expect(box, `${width} px`).not.toBeNull();
      const { x, y, width: wide, height } = box ?? { x: -1, y: -1, width: 0, height: 0 };
      expect([x >= 0, y >= 0, x + wide <= width, y + height <= 844, wide >= 24, height >= 24], `${width} px: ${JSON.stringify(box)}`).not.toContain(false);
      // Where the menu is wider than the window, it shows the place that the reader is at.
      const isInSight = (): Promise<boolean> =>
        page.getByRole('navigation').locator('[aria-current]').evaluate((here) => {
          const [at, menu] = [here.getBoundingClientRect(), here.parentElement?.getBoundingClientRect()];
          return menu !== undefined && at.left >= menu.left - 1 && at.right <= menu.right + 1;
        });
      await expect.poll(isInSight, { message: `${width} px` }).toBe(true);
    }
    await button.click();
    await page.getByLabel('Token').waitFor();
    await page.reload();
    await page.getByLabel('Token').waitFor();
    await watched.expectNoFaults();
    await watched.close();
  });
}
