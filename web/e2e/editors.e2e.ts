import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Browsing } from './browser';
import { Core, Target, TOKEN } from './core';
import { Registry, versionOf } from './registry';

let core: Core;
let browsing: Browsing;
let watched: string;
const target = new Target();
const registry = new Registry();
const wrong: string[] = []; // what axe found, told at the end
const page = () => browsing.page;
const main = () => page().getByRole('main');
const dialog = () => page().getByRole('dialog');
const field = (name: string | RegExp) => main().getByRole('textbox', { name });
const button = (name: string | RegExp) => main().getByRole('button', { name, exact: true });
const option = (name: string) => page().getByRole('option', { name, exact: true });

beforeAll(async () => {
  const npm = await registry.start();
  [core, watched] = await Promise.all([Core.start({ args: ['--npm-registry', npm] }), target.start()]);
  await core.enrol('fra-1', 'eu', { tier: 'edge' });
  browsing = await Browsing.start(core.url);
  await browsing.enter(TOKEN);
});
afterAll(async () => {
  await browsing?.stop();
  await core?.stop();
  target.stop();
  registry.stop();
});

/** Chooses from a list that opens at a field. */
async function choose(name: string, what: string): Promise<void> {
  await main().getByRole('combobox', { name, exact: true }).or(field(name)).first().click();
  await option(what).click();
  await page().keyboard.press('Escape');
}

/** Somebody who is told by webhook, and counts what is signed. */
async function listener() {
  const heard = { url: '', signed: 0, stop: () => {} };
  const server = createServer((request, answer) => {
    if (request.headers['x-perigee-signature']) heard.signed++;
    request.resume().on('end', () => answer.end());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  heard.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  heard.stop = () => server.close();
  return heard;
}

/** On a phone nothing is wider than the window, in the dark all is seen, and axe has nothing serious to say. */
async function looksRight(name: string): Promise<void> {
  wrong.push(...(await browsing.wrong()));
  await browsing.picture(name);
  await page().setViewportSize({ width: 390, height: 844 });
  await page().emulateMedia({ colorScheme: 'dark' });
  await page().locator(':root[data-mantine-color-scheme="dark"]').waitFor();
  wrong.push(...(await browsing.wrong()));
  expect(await browsing.tooWide(), `${name} on a phone`).toBe(0);
  await page().emulateMedia({ colorScheme: 'light' });
  await page().setViewportSize({ width: 1280, height: 800 });
}

test('a system is made by form, and changed', async () => {
  await page().getByRole('navigation').getByRole('link', { name: 'Systems' }).click();
  await main().getByRole('link', { name: 'New system' }).click();
  await field('Name').fill('shop/front');
  await button('Create the system').click();
  await main().getByRole('alert').getByText('The fields say where.').waitFor();
  await field('Name').fill('shop');
  await button('Add a label to Labels').click();
  await field('Labels: key 1').fill('team');
  await field('Labels: value 1').fill('web');
  await button('Add a field to Metadata').click();
  await field('Metadata: key 1').fill('page');
  await field('Metadata: value 1').fill(watched);
  await looksRight('system-editor');
  await button('Create the system').click();
  await main().getByRole('heading', { name: 'shop', level: 1 }).waitFor();
  await main().getByText('team=web').waitFor();
  await main().getByRole('link', { name: 'Edit' }).click();
  await field('Description').fill('Where people buy');
  await button('Save').click();
  await main().getByText('Where people buy').waitFor();
});

test('a check is made by form, is red, then green, with its evidence', async () => {
  target.up = false;
  await main().getByRole('link', { name: 'Create one' }).click();
  await main().getByRole('heading', { name: 'New check', level: 1 }).waitFor();
  await choose('Strategy', 'HTTP');
  await field('Name').fill('front-page');
  await field('Every').fill('1 second');
  await field('URL').fill('ftp://nowhere');
  expect(
    (
      await main()
        .getByText(/templates/i)
        .allTextContents()
    ).filter((text) => text.includes('What to ask for')),
  ).toEqual(['What to ask for. Templates such as {{ environment.baseUrl }} are filled in before the run.']);
  await button('Add an assertion to request').click();
  await main()
    .getByRole('combobox', { name: 'Assertion 1: field' })
    .or(field('Assertion 1: field'))
    .first()
    .fill('statusCode');
  await field('Assertion 1: value').fill('200');
  await choose('On these satellites', 'fra-1');
  await main().getByRole('checkbox', { name: 'On the core itself' }).uncheck();
  await button('Create the check').click();
  // What the core finds wrong stands at its field.
  await main().getByText('is not a duration; write it as 10s').waitFor();
  expect(await field('Every').getAttribute('aria-invalid')).toBe('true');
  expect(await field('URL').getAttribute('aria-invalid')).toBe('true');
  await field('Every').fill('1s');
  await field('URL').fill('{{ system.metadata.page }}');
  // It is tried before it is saved, from a satellite that was chosen, as if of a system.
  await choose('From', 'fra-1');
  await button('Try it').click();
  const came = main().getByRole('status', { name: 'What came of it' });
  await came.getByText('expected to equal 200, got 503').first().waitFor();
  await came.getByText('does not hold').waitFor();
  await came
    .locator('.phases-legend')
    .getByText(/connect/)
    .waitFor();
  await button(/^Expect that statusCode equals 503/).waitFor();
  await came.evaluate((node) => node.scrollIntoView({ block: 'center' }));
  await browsing.picture('check-try');
  await main().getByRole('region', { name: 'Where it would run' }).getByText('It would run on 1 satellite.').waitFor();
  await main().getByText('The same in YAML').click();
  await main().locator('[data-document]').getByText('kind: Assignment').waitFor();
  await looksRight('check-editor');
  await button('Create the check').click();
  await main().getByRole('heading', { name: 'front-page', level: 1 }).waitFor();
  await main().locator('[data-status="unhealthy"]').first().waitFor();
  await main().getByRole('link', { name: 'evidence' }).first().click();
  await main()
    .getByRole('row', { name: /fra-1 unhealthy .*got 503/ })
    .first()
    .waitFor();
  await page().goBack();
  target.up = true;
  await main().locator('[data-status="healthy"]').first().waitFor();
});

test('a check is changed with what its last run found, and its name is not taken twice', async () => {
  await main().getByRole('link', { name: 'Edit', exact: true }).click();
  await main().getByRole('heading', { name: 'Edit front-page' }).waitFor();
  await button(/^Expect that responseTimeMs is less than/).click();
  await button('Save').click();
  await main()
    .getByText(/^responseTimeMs is less than/)
    .waitFor();
  await page().goto('/checks/new');
  await choose('Strategy', 'HTTP');
  await field('Name').fill('front-page');
  await field('URL').fill(watched);
  await button('Create the check').click();
  await main().getByText('there is a check front-page already').waitFor();
});

test('an assignment is changed and taken away, and what goes with a check and a system is said', async () => {
  await page().goto('/checks/front-page');
  await main().getByRole('link', { name: 'Edit assignment front-page-shop' }).click();
  await field('And on all that match').fill('tier=');
  await button('Save').click();
  await main().locator('[aria-invalid="true"]').first().waitFor();
  await field('And on all that match').fill('tier=edge');
  await button('Save').click();
  await main()
    .getByRole('row', { name: /front-page-shop fra-1/ })
    .waitFor();
  await page().goto('/systems/shop');
  await button('Delete').click();
  await dialog().getByText('1 assignment: front-page').waitFor();
  await dialog().getByText('1 check will be assigned nowhere').waitFor();
  await dialog().getByRole('button', { name: 'Cancel' }).click();
  await button('Remove assignment front-page-shop').click();
  await dialog().getByRole('button', { name: 'Remove it' }).click();
  await main().getByText('None, so nothing runs.').waitFor();
  await page().goto('/checks/front-page');
  await button('Delete').click();
  await dialog().getByText('It is assigned nowhere.').waitFor();
  await dialog().getByRole('button', { name: 'Delete it' }).click();
  await main().getByText('No checks yet.').waitFor();
});

test('a script is written with completion, tried, and told where it is wrong', async () => {
  await page().goto('/checks/new');
  await choose('Strategy', 'Script');
  await field('Name').fill('queue');
  await button('Add TypeScript').click();
  const editor = main().getByRole('textbox', { name: 'Script', exact: true });
  await editor.click();
  await page().keyboard.type('const name = context.system.');
  await page()
    .getByRole('option', { name: /metadata/ })
    .waitFor();
  wrong.push(...(await browsing.wrong()));
  await browsing.picture('script-editor');
  await page().keyboard.press('Escape');

  // A mistake of type is underlined, reachable by F8 and listed, and goes when it is mended.
  const mistakes = main().locator('.cm-lintRange-error');
  const listed = main().getByRole('listbox', { name: 'Diagnostics' });
  await browsing.paste(editor, 'const n: number = "three"\nreturn n');
  await mistakes.first().waitFor();
  await editor.press('F8');
  await page().locator('.cm-tooltip').getByText("1:7 Type 'string' is not assignable to type 'number'.").waitFor();
  await editor.press('Control+Shift+M');
  await listed.getByText("1:7 Type 'string' is not assignable to type 'number'.").waitFor();
  await looksRight('script-mistake');
  await page().keyboard.press('Escape');
  await browsing.paste(editor, 'const n: number = 3\nreturn n');
  await mistakes.waitFor({ state: 'detached' });

  // Types are told where the pointer rests.
  await main().locator('.cm-line').getByText('return', { exact: true }).waitFor();
  await browsing.paste(editor, 'fetch');
  await main().locator('.cm-line').getByText('fetch', { exact: true }).hover();
  await page()
    .locator('.cm-tooltip-hover')
    .getByText(/Promise<Response>/)
    .waitFor();

  // What Node has is a mistake where the script runs without it, and none where it runs in Node.
  await browsing.paste(editor, "import { EOL } from 'node:os'\nreturn Buffer.from(EOL).length");
  await mistakes.first().waitFor();
  await main()
    .getByText(/^More: .*runtime/)
    .click();
  await choose('Runtime', 'node');
  await mistakes.first().waitFor({ state: 'detached' });
  await browsing.paste(editor, "import { EOL } from 'node:os'\nreturn Buffer.from(EOL).size");
  await mistakes.first().waitFor();
  await editor.press('Control+Shift+M');
  await listed.getByText(/^2:25 Property 'size' does not exist on type 'Buffer/).waitFor();
  await page().keyboard.press('Escape');
  await choose('Runtime', 'builtin');
  await listed.waitFor({ state: 'detached' });

  await browsing.paste(
    editor,
    'const n: number = 3\nreturn { value: n, message: n + " wait for " + context.system.name }',
  );
  await choose('From', 'fra-1');
  await choose('For the system', 'shop');
  await button('Try it').click();
  const came = main().getByRole('status', { name: 'What came of it' });
  await came.locator('[data-status="healthy"]').first().waitFor();
  await button(/^Expect that message equals/).click();
  expect(await field('Assertion 1: value').inputValue()).toBe('3 wait for shop');
  await browsing.paste(editor, 'const n = 3\nthrow new Error("no queue " + n)');
  await button('Try it').click();
  await came
    .getByText(/no queue 3.*2:/)
    .first()
    .waitFor();
});

test('a script knows the packages of the fleet by their types', async () => {
  for (const name of ['comlink', 'react', '@types/react', 'scheduler'])
    await core.send('POST', '/packages', { name, version: versionOf(name) });
  await core.send('POST', '/packages/install');
  for (;;) {
    const state = await core.send<{ status: string; errorMessage?: string }>('GET', '/packages/install');
    if (state.status === 'error') throw new Error(state.errorMessage);
    if (state.status === 'ready') break;
  }
  await core.send('POST', '/packages', { name: 'yaml', version: versionOf('yaml') });
  await page().goto('/checks/new');
  await choose('Strategy', 'Script');
  await button('Add TypeScript').click();
  const editor = main().getByRole('textbox', { name: 'Script', exact: true });
  const { keyboard } = page();
  const errors = main().locator('.cm-lintRange-error');

  // Names in imports, and members of what was imported.
  await editor.click();
  await keyboard.type("import * as c from 'coml");
  await option('comlinkpackage').click();
  await editor.press('End');
  await keyboard.type('\nc.tran');
  await option('transfer').waitFor();
  wrong.push(...(await browsing.wrong()));
  await keyboard.press('Escape');

  // A call tells its parameters, to the keyboard too.
  await browsing.paste(editor, "import * as c from 'comlink'\nc.transfer");
  await keyboard.type('(');
  const told = page().getByRole('status', { name: 'Parameters' });
  await told.locator('strong').getByText('obj: unknown').waitFor();
  await keyboard.type('"large", ');
  await told.locator('strong').getByText('transfers: Transferable[]').waitFor();
  wrong.push(...(await browsing.wrong()));
  await looksRight('script-parameters');
  await keyboard.press('Escape');
  await told.waitFor({ state: 'detached' });
  await keyboard.press('Control+Shift+Space');
  await told.locator('strong').getByText('transfers: Transferable[]').waitFor();
  await keyboard.press('Escape');

  // A wrong member and a wrong argument are mistakes; what declares the types may be another package.
  await browsing.paste(
    editor,
    "import * as c from 'comlink'\nimport { createElement } from 'react'\nreturn c.wrapp(createElement(3).key)",
  );
  await errors.first().waitFor();
  await editor.press('Control+Shift+M');
  const listed = main().getByRole('listbox', { name: 'Diagnostics' });
  await listed.getByText(/3:10 Property 'wrapp' does not exist on type/).waitFor();
  await listed
    .getByText(/3:30 No overload matches this call/)
    .first()
    .waitFor();
  await keyboard.press('Escape');
  await browsing.paste(editor, "import { createElement } from 'react'\nreturn createElement('p').key");
  await errors.first().waitFor({ state: 'detached' });
  await main().locator('.cm-line').getByText('createElement', { exact: true }).first().hover();
  await page()
    .locator('.cm-tooltip-hover')
    .getByText(/function createElement/)
    .waitFor();

  // What has no types says so, and what is not installed leads to where it can be.
  await browsing.paste(
    editor,
    "import * as s from 'scheduler'\nimport { parse } from 'yaml'\nimport y from 'yup'\nreturn [s, y, parse].length",
  );
  await errors.first().waitFor();
  await editor.press('Control+Shift+M');
  await listed.getByText(/scheduler@.* has no types: what it exports is any/).waitFor();
  await listed.getByText(/yaml is on the list of packages and not installed/).waitFor();
  await listed.getByText(/yup is not among the fleet’s packages/).waitFor();
  await looksRight('script-packages');
  await keyboard.press('Escape');
  await errors.first().hover();
  const [opened] = await Promise.all([
    browsing.context.waitForEvent('page'),
    page().locator('.cm-tooltip .cm-diagnosticAction').first().click(),
  ]);
  await opened.getByRole('heading', { name: 'Packages', level: 1 }).waitFor();
  await opened.close();
});

test('a check is made by keyboard alone', async () => {
  const { keyboard } = page();
  await page().goto('/checks');
  await main().getByRole('link', { name: 'New check' }).waitFor();
  const focused = () =>
    page().evaluate(() => {
      const at = document.activeElement as HTMLInputElement | null;
      return at?.getAttribute('aria-label') ?? at?.labels?.[0]?.textContent ?? at?.textContent ?? '';
    });
  const tabTo = async (name: string) => {
    for (let i = 0; i < 80 && !(await focused()).startsWith(name); i++) await keyboard.press('Tab');
    expect(await focused()).toContain(name);
  };
  await tabTo('New check');
  await keyboard.press('Enter');
  await main().getByRole('heading', { name: 'New check', level: 1 }).waitFor();
  await tabTo('Strategy');
  await keyboard.type('TCP');
  await page().getByRole('option', { name: 'TCP' }).waitFor();
  await keyboard.press('ArrowDown');
  await keyboard.press('Enter');
  await tabTo('Name');
  await keyboard.type('port');
  await tabTo('Host');
  await keyboard.type('127.0.0.1');
  await tabTo('Port');
  await keyboard.type(new URL(watched).port);
  await tabTo('Create the check');
  await keyboard.press('Enter');
  await main().getByRole('heading', { name: 'port', level: 1 }).waitFor();
});

test('a maintenance is planned, changed, ended and deleted', async () => {
  await page().goto('/maintenances');
  await main().getByRole('link', { name: 'Plan a maintenance' }).click();
  await field('Name').fill('new shelves');
  await button('Plan it').click();
  await main().getByText('names no system').waitFor();
  await choose('Systems', 'shop');
  await looksRight('maintenance-editor');
  await button('Plan it').click();
  const row = main().getByRole('row', { name: /active new shelves shop/ });
  await row.waitFor();
  await main().getByRole('link', { name: 'Edit new shelves' }).click();
  await main().getByText('On a schedule').click();
  await field('Cron').fill('30 2 * *');
  await button('Save').click();
  await main().locator('[aria-invalid="true"]').waitFor();
  await field('Cron').fill('30 2 * * 0');
  await button('Save').click();
  await main().getByText('30 2 * * 0 for 1h').waitFor();
  await button('Delete new shelves').click();
  await dialog().getByRole('button', { name: 'Delete it' }).click();
  await main().getByText('No maintenance is planned.').waitFor();
});

test('a channel is made by form, tested, changed and deleted', async () => {
  const heard = await listener();
  await core.send('PUT', '/secrets/HOOK', { value: 'a-key-for-signing' });
  await page().goto('/channels');
  await main().getByRole('link', { name: 'New channel' }).click();
  await choose('Kind', 'Webhook');
  await field('Name').fill('On Call');
  await field('URL').fill(heard.url);
  await main()
    .getByText(/^More:/)
    .click();
  await choose('Signing secret', 'HOOK');
  await button('Create the channel').click();
  await main().getByText('must be lower-case letters').waitFor();
  await field('Name').fill('on-call');
  await looksRight('channel-editor');
  await button('Create the channel').click();
  await button('Send a test').click();
  await main().getByText('The test message was delivered.').waitFor();
  expect(heard.signed).toBe(1);
  await main().getByRole('link', { name: 'Edit on-call' }).click();
  await main().getByRole('checkbox', { name: 'Enabled' }).uncheck();
  await button('Save').click();
  await main().locator('[data-status]').getByText('disabled').waitFor();
  await button('Delete on-call').click();
  await dialog().getByRole('button', { name: 'Delete it' }).click();
  await main().getByText('No channels yet').waitFor();
  heard.stop();
});

test('an incident is opened, updated and resolved', async () => {
  await page().goto('/incidents');
  await button('Open an incident').click();
  await dialog().getByRole('textbox', { name: 'Title' }).fill('The shop is slow');
  await dialog().getByRole('textbox', { name: 'What is known' }).fill('People say so.');
  wrong.push(...(await browsing.wrong()));
  await dialog().getByRole('button', { name: 'Open it' }).click();
  await main().getByRole('heading', { name: 'The shop is slow', level: 1 }).waitFor();
  await main().getByText('People say so.').waitFor();
  await field('What is known').fill('A disk was full.');
  await choose('State', 'resolved');
  await button('Add to the timeline').click();
  await main().getByText('A disk was full.').waitFor();
  await main().locator('[data-status="resolved"]').first().waitFor();
  await browsing.picture('incident');
});

test('no page complained, the policy was kept, and axe found nothing serious', () => {
  expect(browsing.complaints).toEqual([]);
  expect([...new Set(wrong)]).toEqual([]);
});
