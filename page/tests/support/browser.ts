/** Debian's chromium, and what a page must never do. */

import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core';
import { TestRunner, expect, onTestFailed } from 'vitest';

/** Chromium without a window, which needs half of the processor time. */
const HEADLESS = '/usr/bin/chromium-headless-shell';
const CHROMIUM = process.env.ENSUE_CHROMIUM ?? (existsSync(HEADLESS) ? HEADLESS : '/usr/bin/chromium');

/** How long a page of a failed test may take to say what it shows. */
const PRINT_MS = 2_000;

export const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };

/** Serves `dist` instead of the files that the node embeds, so that a change of the page needs no build of the node. */
async function serveDist(context: BrowserContext): Promise<void> {
  const dist = resolve(import.meta.dirname, '../../dist');
  await context.route('**/ui/assets/*/*', async (route) => {
    const name = new URL(route.request().url()).pathname.split('/').at(-1) ?? '';
    const types: Record<string, string> = { js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml' };
    await route.fulfill({ path: join(dist, name), contentType: types[name.split('.').at(-1) ?? ''] ?? 'application/octet-stream' });
  });
}

export function launch(args: string[] = []): Promise<Browser> {
  return chromium.launch({ executablePath: CHROMIUM, args });
}

/** A page that notes every dialog, violation of the policy, error, and request to elsewhere. */
export class Watched {
  readonly faults: string[] = [];

  private constructor(
    readonly page: Page,
    private readonly context: BrowserContext,
  ) {}

  static async open(browser: Browser, url: string, options: Parameters<Browser['newContext']>[0] = {}): Promise<Watched> {
    const context = await browser.newContext({ baseURL: url, ...options });
    if (process.env.ENSUE_PAGE_FROM_DIST) await serveDist(context);
    return Watched.in(context, url);
  }

  /** Opens another tab of the same browser. */
  static async in(context: BrowserContext, url: string): Promise<Watched> {
    const page = await context.newPage();
    const watched = new Watched(page, context);
    // A page that a file opens before its tests belongs to none of them.
    if (TestRunner.getCurrentTest()) onTestFailed(() => watched.print());
    page.on('dialog', (dialog) => {
      watched.faults.push(`a dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on('pageerror', (error) => watched.faults.push(`an error: ${error.message}`));
    page.on('request', (request) => {
      if (!request.url().startsWith(url) && !request.url().startsWith('data:')) watched.faults.push(`a request to ${request.url()}`);
    });
    await page.exposeFunction('ensueViolation', (what: string) => watched.faults.push(`a violation of the policy: ${what}`));
    await page.addInitScript(() => {
      addEventListener('securitypolicyviolation', (event) => {
        const report = (globalThis as unknown as { ensueViolation: (what: string) => void }).ensueViolation;
        report(`${event.violatedDirective} ${event.blockedURI}`);
      });
    });
    return watched;
  }

  /** Prints the text of the page. The error of a failed wait has only what it expected. */
  private async print(): Promise<void> {
    if (this.page.isClosed()) return;
    const text = await this.page.locator('body').innerText({ timeout: PRINT_MS }).catch(String);
    console.error(`${this.page.url()} shows:\n${text}\n${this.faults.join('\n')}`);
  }

  async tab(url: string): Promise<Watched> {
    return Watched.in(this.context, url);
  }

  async logIn(token: string): Promise<void> {
    await this.page.getByLabel('Token').fill(token);
    await this.page.getByRole('button', { name: 'Log in' }).click();
    await this.page.getByRole('button', { name: 'Log in' }).waitFor({ state: 'detached' });
  }

  /** Requires that nothing happened which must not. */
  async expectNoFaults(): Promise<void> {
    // Reports of the policy arrive a moment later.
    await this.page.waitForTimeout(100);
    expect(this.faults).toEqual([]);
  }

  async close(): Promise<void> {
    await this.context.close();
  }
}
