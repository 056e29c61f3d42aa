/** Times in the browser: from a key or a click to the frame that shows what it led to. */

import type { Page } from 'playwright-core';

/** What shows that a screen is there: its heading, and something of its content. */
export interface Shown {
  heading: string;
  content: string;
}

interface Timing {
  ensueTiming: Promise<number>;
}

/** Returns the milliseconds from the last key or click of `act` to the frame that shows something. */
export async function timed(page: Page, shown: Shown, act: () => Promise<void>): Promise<number> {
  await page.evaluate(({ heading, content }) => {
    let begin = 0;
    for (const kind of ['keydown', 'pointerdown']) addEventListener(kind, () => (begin = performance.now()), { capture: true });
    const isThere = (): boolean =>
      (document.querySelector('main h1')?.textContent ?? '').trim().startsWith(heading) && document.querySelector(content) !== null;
    (globalThis as unknown as Timing).ensueTiming = new Promise((done) => {
      const look = (): void => {
        if (begin > 0 && isThere()) requestAnimationFrame(() => done(performance.now() - begin));
        else requestAnimationFrame(look);
      };
      look();
    });
  }, shown);
  await act();
  return page.evaluate(() => (globalThis as unknown as Timing).ensueTiming);
}

/** Scrolls a box to its end, and returns how long each frame took. */
export function framesOf(page: Page, selector: string, frames: number): Promise<number[]> {
  return page.evaluate(
    async ([box, count]) => {
      const element = document.querySelector(box);
      if (!element) throw new Error(`there is no ${box}`);
      const step = (element.scrollHeight - element.clientHeight) / count;
      const took: number[] = [];
      const next = (): Promise<number> => new Promise((done) => requestAnimationFrame(done));
      let last = await next();
      for (let at = 1; at <= count; at += 1) {
        element.scrollTop = at * step;
        const now = await next();
        took.push(now - last);
        last = now;
      }
      return took;
    },
    [selector, frames] as const,
  );
}
