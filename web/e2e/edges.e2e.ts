import { afterAll, beforeAll, expect, test } from 'vitest';
import { Browsing } from './browser';
import { Core, Target, TOKEN } from './core';

// What pages say where there is nothing yet, and where something cannot be.

let core: Core;
let browsing: Browsing;
let watched: string;
const target = new Target();
const page = () => browsing.page;
const main = () => page().getByRole('main');
const button = (name: string) => main().getByRole('button', { name, exact: true });
const field = (name: string) => main().getByRole('textbox', { name });

beforeAll(async () => {
  [core, watched] = await Promise.all([Core.start(), target.start()]);
  browsing = await Browsing.start(core.url);
  await browsing.enter(TOKEN);
});
afterAll(async () => {
  await browsing?.stop();
  await core?.stop();
  target.stop();
});

const request = (interval: string, url = watched) => ({
  strategy: 'healthcheck-http.http',
  interval,
  collectors: [{ id: 'page', collector: 'healthcheck-http.request', config: { url } }],
});

test('of nothing the overview has neither good nor bad news', async () => {
  await browsing.visit('/');
  const tiles = main().locator('.tiles');
  await tiles.getByText('of 0 satellites').waitFor();
  expect(await tiles.locator('.tone-good, .tone-warn, .tone-bad').count()).toBe(0);
});

test('who holds a token is told at once that it has no password, and where to go', async () => {
  await browsing.visit('/password');
  await main().getByText('a token has no password').waitFor();
  expect(await main().locator('input').count()).toBe(0);
  await button('Sign out, to sign in with a password').click();
  await page().getByRole('button', { name: 'Sign in', exact: true }).waitFor();
  expect(new URL(page().url()).pathname).toBe('/password');
  await browsing.enter(TOKEN);
});

test('a satellite that never connected says how it does, and not what it last said', async () => {
  await core.send('POST', '/satellites', { name: 'never-1', region: 'eu' });
  await browsing.visit('/satellites/never-1');
  await main().getByRole('heading', { name: 'Not connected yet' }).waitFor();
  await main().getByText('“Rotate token” gives the command again').waitFor();
  await browsing.visit('/');
  const tiles = main().locator('.tiles');
  await tiles.getByText('never connected').waitFor();
  expect(await tiles.locator('.tone-bad').count()).toBe(0);
});

/** Begins a new check of a page. */
async function newCheck(): Promise<void> {
  await browsing.visit('/checks/new');
  await main().getByRole('combobox', { name: 'Strategy' }).or(field('Strategy')).first().click();
  await page().getByRole('option', { name: 'HTTP', exact: true }).click();
}

test('a check is tried from a satellite that can run it, and where none can it is said', async () => {
  await newCheck();
  await main().getByText('It cannot be tried now').waitFor();
  expect(await button('Try it').isDisabled()).toBe(true);
  expect(await main().getByPlaceholder('the core itself').count()).toBe(0);
  await core.enrol('fra-1', 'eu-central');
  await button('Try it').and(page().locator(':enabled')).waitFor();
  const from = main().getByRole('combobox', { name: /^From/ }).or(field('From')).first();
  expect(await from.inputValue()).toBe('fra-1');
  await field('URL').fill(watched);
  await button('Try it').click();
  await main()
    .getByRole('status', { name: 'What came of it' })
    .getByText(/from fra-1/)
    .waitFor();
});

test('what is new is left by Cancel, which asks when something would be lost', async () => {
  await newCheck();
  const asked: string[] = [];
  let leave = false;
  const answer = (dialog: import('playwright-core').Dialog) => {
    asked.push(dialog.message());
    return leave ? dialog.accept() : dialog.dismiss();
  };
  page().on('dialog', answer);
  await button('Cancel').click();
  expect(asked).toEqual(['Leave without saving? What you have changed here is lost.']);
  await main().getByRole('heading', { name: 'New check', level: 1 }).waitFor();
  leave = true;
  await button('Cancel').click();
  await main().getByRole('heading', { name: 'Checks', level: 1 }).waitFor();
  asked.length = 0;
  for (const [path, back] of [
    ['/systems/new', 'Systems'],
    ['/assignments/new', 'Checks'],
    ['/automations/new', 'Automations'],
    ['/maintenances/new', 'Maintenance'],
    ['/channels/new', 'Channels'],
  ] as const) {
    await browsing.visit(path);
    await button('Cancel').click();
    await main().getByRole('heading', { name: back, level: 1 }).waitFor();
  }
  expect(asked).toEqual([]);
  page().off('dialog', answer);
});

test('fields beside each other are in line, however long their hints are', async () => {
  await browsing.visit('/settings');
  const tops = (part: string) =>
    main()
      .locator(`.fields:has(> :nth-child(5)) ${part}`)
      .evaluateAll((all) => all.map((one) => Math.round(one.getBoundingClientRect().top)));
  const labels = await tops('.mantine-InputWrapper-label');
  const inputs = await tops('.mantine-Input-input');
  expect(labels.length).toBeGreaterThan(5);
  // As many lines of fields as lines of labels, on each as many of one as of the other.
  const lines = (all: number[]) => all.map((top) => all.indexOf(top));
  expect(lines(inputs)).toEqual(lines(labels));
});

test('on a phone each row of a long table is seen whole', async () => {
  await core.send('POST', '/satellites', { name: 'a-satellite-with-a-rather-long-name-17', region: 'ap-northeast' });
  await core.watch('shop', 'front-page', request('1s'), 'fra-1');
  await core.watch('api', 'closed-page', request('1s', 'http://127.0.0.1:9/'), 'fra-1');
  const hint = () => main().getByRole('textbox', { name: 'Search Satellites' }).getAttribute('placeholder');
  await browsing.visit('/satellites');
  expect(await hint()).toBe('Search (press /)');
  await page().setViewportSize({ width: 390, height: 844 });
  await main().getByPlaceholder('Search', { exact: true }).waitFor(); // a phone has no such key
  for (const [path, label, row] of [
    ['/satellites', 'Satellites', /a-satellite-with-a-rather-long-name-17 never connected ap-northeast/],
    ['/satellites/fra-1', 'Recent runs', /front-page healthy .*ms/],
    ['/satellites/fra-1', 'Recent runs', /closed-page unhealthy .*ms/],
  ] as const) {
    await browsing.visit(path);
    const table = main().getByRole('region', { name: label, exact: true });
    const shown = table.getByRole('row', { name: row }).first();
    await shown.waitFor();
    expect(await table.evaluate((box) => box.scrollWidth - box.clientWidth), path).toBe(0);
    const cells = await shown.locator('td').evaluateAll((all) => all.map((td) => td.getBoundingClientRect().right));
    expect(Math.max(...cells), path).toBeLessThanOrEqual(390);
    const status = shown.locator('[data-title="Status"]');
    expect(await status.evaluate((cell) => cell.scrollWidth - cell.clientWidth), path).toBe(0);
    expect(await browsing.wrong(), path).toEqual([]);
  }
  await page().setViewportSize({ width: 1280, height: 800 });
});

test('the legend of a chart has the newest values while nothing is pointed at', async () => {
  await browsing.visit('/checks/front-page');
  const legend = main().locator('.u-legend').first();
  await legend
    .getByText(/[\d.]+ m?s$/)
    .first()
    .waitFor();
  await legend.getByText(/^\d\d:\d\d/).waitFor();
});

test('what bars and lines say at one moment is read by keyboard and by touch', async () => {
  await browsing.visit('/checks/front-page');
  const bars = main().getByRole('img', { name: /^front-page of shop/ });
  const byKey = main().getByRole('slider', { name: /^front-page of shop.*bar by bar$/ });
  const said = main().getByText(/^\d\d:\d\d to \d\d:\d\d: \d+ healthy, p95 /);
  await byKey.focus();
  await said.waitFor();
  expect(await byKey.getAttribute('aria-valuetext')).toMatch(/ to .* healthy, p95 /);
  await byKey.press('Tab');
  await said.waitFor({ state: 'detached' });
  const box = await bars.boundingBox();
  await bars.dispatchEvent('pointerdown', {
    pointerType: 'touch',
    clientX: (box?.x ?? 0) + (box?.width ?? 0) - 1,
    clientY: (box?.y ?? 0) + 5,
  });
  await said.waitFor();
  const latency = main().getByRole('slider', { name: /^Latency of front-page.*moment by moment$/ });
  await latency.focus();
  await latency.press('Home');
  expect(await latency.getAttribute('aria-valuetext')).toMatch(/^\d\d:\d\d:\d\d, p50 [\d.]+ m?s, p95 /);
});

test('a check says what must hold in words, and why it runs nowhere', async () => {
  const assertions = [
    { field: 'statusCode', operator: 'lessThan', value: 400 },
    { expression: 'result.statusCode in [200, 204]' },
  ];
  const { collectors, ...spec } = request('1h');
  await core.send('POST', '/checks', {
    name: 'idle',
    spec: { ...spec, collectors: collectors.map((c) => ({ ...c, assertions })) },
  });
  await browsing.visit('/checks/idle');
  await main().getByText('statusCode is less than 400').waitFor();
  await main().getByText('result.statusCode in [200, 204]').waitFor();
  await main().getByText('It runs nowhere: it is assigned to no system.').waitFor();
  await core.send('POST', '/assignments', {
    name: 'idle-shop',
    check: 'idle',
    system: 'shop',
    includeLocal: false,
    satellites: { selector: 'region=nowhere' },
  });
  await main().getByText('It runs nowhere: no satellite that its assignments pick can run it.').waitFor();
});

test('where a name stands in a line with other words its link is told apart, and what has the focus is seen', async () => {
  await browsing.visit('/systems/shop');
  await main()
    .getByRole('row', { name: /fra-1 eu-central healthy/ })
    .waitFor();
  expect(await browsing.wrong()).toEqual([]);
  await browsing.visit('/assignments/new?check=front-page&system=shop');
  const { keyboard } = page();
  /** Whether what has the focus, or what stands for it, has a line around it. */
  const marked = () =>
    page().evaluate(() => {
      const at = document.activeElement;
      const lined = (node?: Element | null) =>
        !!node &&
        Number.parseFloat(getComputedStyle(node).outlineWidth) >= 2 &&
        getComputedStyle(node).outlineStyle !== 'none';
      const shown = [
        at,
        at?.nextElementSibling,
        at?.closest('.mantine-Input-input'),
        at?.closest('.mantine-Checkbox-root'),
      ];
      return shown.some(lined) ? '' : (at?.outerHTML.slice(0, 200) ?? 'nothing');
    });
  await main().getByRole('link', { name: 'Checks' }).focus();
  for (let stops = 0; ; stops++) {
    await keyboard.press('Tab');
    if (await page().evaluate(() => !document.activeElement?.closest('main'))) {
      expect(stops).toBeGreaterThan(8);
      break;
    }
    expect(await marked()).toBe('');
  }
});

test('a dialog keeps the focus while it is there, and gives it back', async () => {
  for (const [path, opens] of [
    ['/satellites/fra-1', 'Edit'],
    ['/satellites/fra-1', 'Rotate token'],
    ['/systems/shop', 'Delete'],
    ['/systems/shop', 'Begin maintenance'],
    ['/users', 'New user'],
  ] as const) {
    await browsing.visit(path);
    await button(opens).focus();
    await page().keyboard.press('Enter');
    const dialog = page().getByRole('dialog');
    await dialog.locator(':focus').waitFor();
    for (let stops = 0; stops < 12; stops++) {
      await page().keyboard.press('Tab');
      expect(await dialog.locator(':focus').count(), `${opens} of ${path}`).toBe(1);
    }
    await page().keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    await button(opens).and(page().locator(':focus')).waitFor();
  }
});

test('moments are shown by date and clock to who wishes, by keyboard', async () => {
  await browsing.visit('/about');
  const begun = main().locator('time').first();
  await begun.getByText(/ ago$/).waitFor();
  const choose = async (how: string) => {
    await page().getByRole('button', { name: 'Appearance and session' }).focus();
    await page().keyboard.press('Enter');
    await page().getByRole('menuitem', { name: how }).focus();
    await page().keyboard.press('Enter');
  };
  await choose('By date and clock');
  await begun.getByText(/ 20\d\d, \d\d:\d\d:\d\d UTC$/).waitFor();
  await page().reload();
  await begun.getByText(/ 20\d\d, \d\d:\d\d:\d\d UTC$/).waitFor();
  await choose('In short, or by how long ago');
  await begun.getByText(/ ago$/).waitFor();
});

test('no page complained', () => {
  expect(browsing.complaints).toEqual([]);
});
