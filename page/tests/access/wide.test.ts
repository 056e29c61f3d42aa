/** No screen makes its readers scroll sideways, also in a language whose words are longer. */

import { expect, test } from 'vitest';
import { Watched } from '../support/browser.ts';
import type { Node } from '../support/node.ts';
import { Rig } from '../support/rig.ts';
import { filled, sideways, visit } from '../support/screens.ts';

const WIDTHS = [1_280, 390];

let node: Node;
let paths: string[];

const rig = Rig.for('packs', {}, async (started) => {
  node = started;
  paths = await filled(node);
});

test('no screen scrolls sideways with words that are longer by two fifths', async () => {
  const watched = await Watched.open(rig.browser, node.url);
  const { page } = watched;
  await page.goto('/ui/login');
  await watched.logIn(node.token);
  await page.evaluate(() => localStorage.setItem('ensue.prefs', '{"locale":"pseudo"}'));
  const found: string[] = [];
  for (const path of paths) {
    await visit(page, path);
    expect(await page.getByRole('navigation').first().textContent(), path).toContain('⟦');
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: 844 });
      found.push(...(await sideways(page)).map((what) => `${path} at ${width} px: ${what}`));
    }
  }
  expect(found).toEqual([]);
  // What is too wide would be found.
  await visit(page, '/ui/me');
  await page.evaluate(() => {
    const wide = document.createElement('p');
    wide.style.minWidth = '2000px';
    document.querySelector('main')?.append(wide);
  });
  expect(await sideways(page)).toEqual([expect.stringContaining('<p class="">')]);
  await watched.expectNoFaults();
  await watched.close();
}, 300_000);
