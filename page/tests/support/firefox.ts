/** Debian's firefox, the second engine, driven over WebDriver BiDi. */

import { existsSync } from 'node:fs';
import { launch, type Browser, type Page } from 'puppeteer-core';
import { expect } from 'vitest';

const FIREFOX = process.env.ENSUE_FIREFOX ?? '/usr/bin/firefox-esr';
const WAIT_MS = 20_000;

/** Whether its tests are skipped: it is missing, and this is not CI, where everything is required. */
export const isSkipped = !existsSync(FIREFOX) && process.env.CI !== 'true';

export function launchFirefox(): Promise<Browser> {
  return launch({ browser: 'firefox', executablePath: FIREFOX, headless: true });
}

/** A tab that notes every dialog, error and violation of the policy. */
export class Tab {
  readonly faults: string[] = [];

  private constructor(
    readonly page: Page,
    private readonly url: string,
  ) {}

  static async open(browser: Browser, url: string, path: string): Promise<Tab> {
    const page = await browser.newPage();
    page.setDefaultTimeout(WAIT_MS);
    const tab = new Tab(page, url);
    page.on('dialog', (dialog) => {
      tab.faults.push(`a dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on('pageerror', (error) => tab.faults.push(`an error: ${String(error)}`));
    await page.evaluateOnNewDocument(() => {
      const noted: string[] = [];
      (globalThis as unknown as { violations: string[] }).violations = noted;
      addEventListener('securitypolicyviolation', (event) => noted.push(`${event.violatedDirective} ${event.blockedURI}`));
    });
    await tab.go(path);
    return tab;
  }

  async go(path: string): Promise<void> {
    await this.page.goto(this.url + path);
  }

  async logIn(token: string): Promise<void> {
    await this.page.locator('input[name="token"]').fill(token);
    await this.click('Log in', 'button');
    await this.page.waitForSelector('input[name="token"]', { hidden: true });
  }

  /** Clicks on the element of this name and role for assistive technology. */
  async click(name: string, role: string): Promise<void> {
    await this.page.locator(`::-p-aria([name="${name}"][role="${role}"])`).click();
  }

  /** Waits until an element shows a text. */
  async shows(text: string, within = ''): Promise<void> {
    await this.page.waitForSelector(`${within} ::-p-text(${text})`);
  }

  async isAt(path: string): Promise<void> {
    await this.page.waitForFunction((wanted) => location.pathname + location.search === wanted, {}, path);
  }

  /** Requires that nothing happened which must not, and closes it. */
  async close(): Promise<void> {
    const violations = await this.page.evaluate(() => (globalThis as unknown as { violations: string[] }).violations);
    expect([...this.faults, ...violations]).toEqual([]);
    await this.page.close();
  }
}
