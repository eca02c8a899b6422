import { afterAll, beforeAll, test } from 'vitest';
import { Browsing } from './browser';
import { Core, TOKEN } from './core';

let core: Core;
let browsing: Browsing;

beforeAll(async () => {
  core = await Core.start();
  browsing = await Browsing.start(core.url);
  await browsing.enter(TOKEN);
});
afterAll(async () => {
  await browsing?.stop();
  await core?.stop();
});

test('a page that is asked for while the core is away comes when it is back', async () => {
  const { page, context } = browsing;
  const away = '**/*';
  await context.route(away, (route) => route.abort('connectionrefused'));
  const asked = page.waitForRequest((request) => request.url().endsWith('/readyz'));
  await page.getByRole('navigation').getByRole('link', { name: 'Audit log' }).click();
  await asked;
  await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor();
  await context.unroute(away);
  await page.getByRole('heading', { name: 'Audit log', level: 1 }).waitFor();
});
