import { createRequire } from 'node:module';
import { join } from 'node:path';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';

const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const shots = join(import.meta.dirname, '../../docs/screenshots');

/** A browser, and everything that its pages complained of. */
export class Browsing {
  complaints: string[] = [];
  private constructor(
    private browser: Browser,
    readonly context: BrowserContext,
    readonly page: Page,
  ) {}

  static async start(baseURL: string): Promise<Browsing> {
    const browser = await chromium.launch({
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      args: ['--no-sandbox', '--disable-dev-shm-usage'],
    });
    const context = await browser.newContext({
      baseURL,
      viewport: { width: 1280, height: 800 },
      colorScheme: 'light',
      locale: 'en-GB',
      timezoneId: 'UTC',
      reducedMotion: 'reduce',
    });
    context.setDefaultTimeout(20_000);
    const page = await context.newPage();
    const all = new Browsing(browser, context, page);
    page.on('console', (message) => {
      // Being told to sign in is no error of the page's, but the browser notes it.
      if (['error', 'warning'].includes(message.type()) && !/status of 4\d\d/.test(message.text()))
        all.complaints.push(message.text());
    });
    page.on('pageerror', (error) => all.complaints.push(String(error)));
    return all;
  }

  /** What axe finds wrong with the page, of what is serious. */
  async wrong(): Promise<string[]> {
    // By the debugger's way in, which the content security policy does not bar.
    if (!(await this.page.evaluate(() => 'axe' in window))) {
      const { readFile } = await import('node:fs/promises');
      await this.page.evaluate(await readFile(axe, 'utf8'));
    }
    return this.page.evaluate(async () => {
      // biome-ignore lint/suspicious/noExplicitAny: axe puts itself there
      const { violations } = await (window as any).axe.run(document, { resultTypes: ['violations'] });
      type Violation = { id: string; impact: string; nodes: { html: string; failureSummary: string }[] };
      return (violations as Violation[])
        .filter((v) => ['serious', 'critical'].includes(v.impact))
        .map(
          (v) =>
            `${location.pathname}: ${v.id}: ${v.nodes
              .map((n) => `${n.html} ${n.failureSummary}`)
              .slice(0, 3)
              .join('; ')}`,
        );
    });
  }

  /** Keeps a picture for the documentation, when pictures are asked for. */
  async picture(name: string): Promise<void> {
    if (!process.env.PERIGEE_SCREENSHOTS) return;
    for (const scheme of ['light', 'dark'] as const) {
      await this.page.emulateMedia({ colorScheme: scheme });
      await this.page.screenshot({ path: join(shots, `${name}-${scheme}.png`) });
    }
    await this.page.emulateMedia({ colorScheme: 'light' });
  }

  async stop(): Promise<void> {
    await this.browser.close();
  }
}
