import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { type Browser, type BrowserContext, chromium, type Locator, type Page } from 'playwright-core';

const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const shots = join(import.meta.dirname, '../../docs/screenshots');

/**
 * Serves pages from web/dist as it is now, instead of those that are in the program, so
 * that working on them does not mean building it each time.
 */
async function serveDist(context: BrowserContext): Promise<void> {
  const dist = join(import.meta.dirname, '../dist');
  await context.route(
    (url) => !/^\/(api|session|setup|hooks)/.test(url.pathname),
    async (route) => {
      const { pathname } = new URL(route.request().url());
      if (pathname.startsWith('/assets/') || pathname === '/favicon.svg')
        return route.fulfill({ path: join(dist, pathname) });
      const policy = "default-src 'self'; style-src 'self' 'nonce-fresh'";
      const body = readFileSync(join(dist, 'index.html'), 'utf8').replaceAll('__CSP_NONCE__', 'fresh');
      return route.fulfill({ body, contentType: 'text/html', headers: { 'Content-Security-Policy': policy } });
    },
  );
}

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
    context.setDefaultTimeout(90_000);
    if (process.env.PERIGEE_WEB_FRESH) await serveDist(context);
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

  /** Opens a page with a session. */
  async enter(token: string, path = '/'): Promise<void> {
    await this.page.goto(`${path}#token=${token}`);
    await this.page.getByText('Live', { exact: true }).waitFor();
  }

  /** Puts a text in place of what an editor of code has. */
  async paste(editor: Locator, text: string): Promise<void> {
    await editor.press('Control+A');
    await editor.evaluate((node, text) => {
      const clipboardData = new DataTransfer();
      clipboardData.setData('text/plain', text);
      node.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }));
    }, text);
  }

  /** By how much the page is wider than its window. */
  async tooWide(): Promise<number> {
    return this.page.evaluate(() => Math.max(0, (document.scrollingElement?.scrollWidth ?? 0) - innerWidth));
  }

  /** What axe finds wrong with the page, of what is serious. */
  async wrong(): Promise<string[]> {
    // By the debugger's way in, which the content security policy does not bar.
    if (!(await this.page.evaluate(() => 'axe' in window))) {
      await this.page.evaluate(readFileSync(axe, 'utf8'));
    }
    return this.page.evaluate(async () => {
      // Colours that are on their way to others are none that anybody reads. One that is paused
      // would never get there by itself.
      for (const a of document.getAnimations())
        if (a.effect?.getComputedTiming().iterations !== Infinity && a.playbackRate) a.finish();
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

  /** Opens a page, and waits until it has read what it shows. */
  async visit(path: string): Promise<void> {
    const main = this.page.getByRole('main');
    await this.page.goto(path);
    await main.getByRole('heading', { level: 1 }).waitFor();
    await main.getByText('Reading…').first().waitFor({ state: 'detached' });
  }

  /** Keeps a picture for the documentation, when pictures are asked for. */
  async picture(name: string): Promise<void> {
    if (!process.env.PERIGEE_SCREENSHOTS) return;
    for (const scheme of ['light', 'dark'] as const) {
      await this.page.emulateMedia({ colorScheme: scheme });
      await this.page.locator(`:root[data-mantine-color-scheme="${scheme}"]`).waitFor();
      await this.page.screenshot({ animations: 'disabled', path: join(shots, `${name}-${scheme}.png`) });
    }
    await this.page.emulateMedia({ colorScheme: 'light' });
  }

  async stop(): Promise<void> {
    await this.browser.close();
  }
}
