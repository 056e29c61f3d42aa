/** Replaces on a screen what is different each time: times, durations, ids and hashes. */

import type { Page } from 'playwright-core';

export async function mask(page: Page): Promise<void> {
  await page.evaluate(() => {
    const changing: [RegExp, string][] = [
      [/\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/g, '01a217a0-5bbb-8948-b02e-a7fe5f92931d'],
      [/…[0-9a-f]{6}\b/g, '…92931d'],
      [/\b[0-9a-f]{16,64}\b/g, '5f92931d01a217a0'],
      [/\b\d{4}-\d\d-\d\dT[\d:.]+Z/g, '2026-11-26T09:30:00Z'],
      [/\b[A-Z][a-z]{2} \d{1,2}, \d{4}, [\d:]{8} \S+/g, 'Nov 26, 2026, 09:30:00 UTC'],
      [/\b[A-Z][a-z]{2} \d{1,2}, \d\d:\d\d\b/g, 'Nov 26, 09:30'],
      [/^\d\d:\d\d$/g, '09:30'],
      [/\b127\.0\.0\.1:\d+/g, '127.0.0.1:3678'],
      [/\b\d+(?:\.\d+)? (?:ms|s|min)\b(?: \d\d s\b)?/g, '1.2 s'],
    ];
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let text = walk.nextNode(); text; text = walk.nextNode()) {
      const before = text.nodeValue ?? '';
      const isTime = text.parentElement?.closest('time') !== null;
      const after = isTime ? '4 min ago' : changing.reduce((shown, [pattern, instead]) => shown.replace(pattern, instead), before);
      if (after !== before) text.nodeValue = after;
    }
  });
}
