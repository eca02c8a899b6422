import { afterAll, beforeAll, expect, test } from 'vitest';
import { Browsing } from './browser';
import { Core, Target, TOKEN } from './core';

let core: Core;
let browsing: Browsing;
let watched: string;
const target = new Target();
const wrong: string[] = []; // what axe found, told at the end
const page = () => browsing.page;
const main = () => page().getByRole('main');
const dialog = () => page().getByRole('dialog');
const field = (name: string | RegExp) => main().getByRole('textbox', { name });
const button = (name: string | RegExp) => main().getByRole('button', { name, exact: true });
const option = (name: string) => page().getByRole('option', { name, exact: true });

beforeAll(async () => {
  [core, watched] = await Promise.all([Core.start(), target.start()]);
  await core.enrol('fra-1', 'eu', { tier: 'edge' });
  browsing = await Browsing.start(core.url);
  await browsing.enter(TOKEN);
});
afterAll(async () => {
  await browsing?.stop();
  await core?.stop();
  target.stop();
});

/** Chooses from a list that opens at a field. */
async function choose(name: string, what: string): Promise<void> {
  await main().getByRole('combobox', { name, exact: true }).or(field(name)).first().click();
  await option(what).click();
  await page().keyboard.press('Escape');
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
  await main().getByRole('link', { name: 'Make one' }).click();
  await main().getByRole('heading', { name: 'New check', level: 1 }).waitFor();
  await choose('Strategy', 'HTTP');
  await field('Name').fill('front-page');
  await field('Every').fill('1 second');
  await field('URL').fill('ftp://nowhere');
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
    .getByText(/responseTimeMs lessThan/)
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
  await field('And on all that are like').fill('tier=');
  await button('Save').click();
  await main().locator('[aria-invalid="true"]').first().waitFor();
  await field('And on all that are like').fill('tier=edge');
  await button('Save').click();
  await main().getByText('front-page-shop; on fra-1').waitFor();
  await page().goto('/systems/shop');
  await button('Delete').click();
  await dialog().getByText('1 assignment: front-page').waitFor();
  await dialog().getByText('1 check will be assigned nowhere').waitFor();
  await dialog().getByRole('button', { name: 'Cancel' }).click();
  await button('Remove assignment front-page-shop').click();
  await dialog().getByRole('button', { name: 'Remove it' }).click();
  await main().getByText('None: nothing runs.').waitFor();
  await page().goto('/checks/front-page');
  await button('Delete').click();
  await dialog().getByText('It is assigned nowhere.').waitFor();
  await dialog().getByRole('button', { name: 'Delete it' }).click();
  await main().getByText('No checks yet.').waitFor();
});

test('no page complained, the policy was kept, and axe found nothing serious', () => {
  expect(browsing.complaints).toEqual([]);
  expect([...new Set(wrong)]).toEqual([]);
});
