/** Each screen without a finding of axe, light and dark, wide and narrow. No rule is switched off. */

import { expect, test } from 'vitest';
import { findings } from '../support/axe.ts';
import { PHONE, Watched } from '../support/browser.ts';
import type { Node } from '../support/node.ts';
import { Rig } from '../support/rig.ts';
import { filled, sideways, visit } from '../support/screens.ts';

let node: Node;
let paths: string[];

const rig = Rig.for('packs', {}, async (started) => {
  node = started;
  paths = await filled(node);
});

for (const [size, options] of [['wide', {}], ['phone', PHONE]] as const) {
  test(`no screen has a finding, light or dark: ${size}`, async () => {
    const watched = await Watched.open(rig.browser, node.url, options);
    const { page } = watched;
    const found: string[] = [];
    const look = async (path: string): Promise<void> => {
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.emulateMedia({ colorScheme });
        found.push(...(await findings(page)).map((what) => `${path}, ${colorScheme}: ${what}`));
      }
      found.push(...(await sideways(page)).map((what) => `${path}: ${what}`));
    };
    await page.goto('/ui/login');
    await page.getByLabel('Token').waitFor();
    const colour = (): Promise<string> => page.evaluate(() => getComputedStyle(document.body).color);
    await page.emulateMedia({ colorScheme: 'light' });
    const light = await colour();
    await page.emulateMedia({ colorScheme: 'dark' });
    expect(await colour()).not.toBe(light);
    await look('login');
    await watched.logIn(node.token);
    for (const path of paths) {
      await visit(page, path);
      await look(path);
    }
    expect(found).toEqual([]);
    await watched.expectNoFaults();
    await watched.close();
  }, 600_000);
}
