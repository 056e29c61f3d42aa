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

for (const colorScheme of ['light', 'dark'] as const) {
  for (const [size, options] of [['wide', {}], ['phone', PHONE]] as const) {
    test(`no screen has a finding: ${colorScheme}, ${size}`, async () => {
      const watched = await Watched.open(rig.browser, node.url, { ...options, colorScheme });
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
    }, 600_000);
  }
}
