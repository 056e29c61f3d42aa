/** A node and a browser for the tests of one file, and the people who log in. */

import type { Browser } from 'playwright-core';
import { afterAll, beforeAll } from 'vitest';
import { Watched, launch } from './browser.ts';
import { Node } from './node.ts';

export class Rig {
  node!: Node;
  browser!: Browser;

  /** Starts a node with the packs of a folder of `tests` before the tests of the file that calls it, and ends it after them. */
  static for(packs: string, variables: Readonly<Record<string, string>> = {}, furnish: (node: Node) => Promise<void> = async () => {}): Rig {
    const rig = new Rig();
    beforeAll(async () => {
      [rig.node, rig.browser] = await Promise.all([Node.start(packs, variables), launch()]);
      await furnish(rig.node);
    });
    afterAll(async () => {
      await rig.browser?.close();
      await rig.node?.stop();
    });
    return rig;
  }

  /** Opens a browser of its own and logs in: the admin of the node, if no other token is given. */
  async loggedIn(path: string, token = this.node.token, options: Parameters<Browser['newContext']>[0] = {}): Promise<Watched> {
    const watched = await Watched.open(this.browser, this.node.url, options);
    await watched.page.goto(path);
    await watched.logIn(token);
    return watched;
  }
}
