/** Times in the browser: from a key or a click to the frame that shows what it led to. */

import type { Page } from 'playwright-core';

/** What shows that a screen is there: its heading, and something of its content. */
export interface Shown {
  heading: string;
  content: string;
}

/** Milliseconds from a key or click to a frame. */
export interface Took {
  all: number;
  /** Without the time from the first request of the screen to its last answer. */
  own: number;
}

interface Timing {
  ensueTiming: Promise<Took>;
}

/** Returns how long it takes from the last key or click of `act` to the frame that shows something. */
export async function timed(page: Page, shown: Shown, act: () => Promise<void>): Promise<Took> {
  await page.evaluate(({ heading, content }) => {
    let begin = 0;
    for (const kind of ['keydown', 'pointerdown']) addEventListener(kind, () => (begin = performance.now()), { capture: true });
    const isThere = (): boolean =>
      (document.querySelector('main h1')?.textContent ?? '').trim().startsWith(heading) && document.querySelector(content) !== null;
    (globalThis as unknown as Timing).ensueTiming = new Promise((done) => {
      const end = (): void => {
        const now = performance.now();
        const asked = performance
          .getEntriesByType('resource')
          .filter((one): one is PerformanceResourceTiming => one.name.includes('/api/v1/') && !one.name.endsWith('/me') && one.startTime >= begin && one.startTime + one.duration <= now);
        const first = Math.min(...asked.map(({ startTime }) => startTime));
        const last = Math.max(...asked.map(({ responseEnd }) => responseEnd));
        done({ all: now - begin, own: now - begin - (asked.length > 0 ? last - first : 0) });
      };
      performance.clearResourceTimings();
      const look = (): void => {
        if (begin > 0 && isThere()) requestAnimationFrame(end);
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
