import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import { Browsing } from './browser';
import { Core, TOKEN } from './core';

let core: Core;
let browsing: Browsing;
const wrong: string[] = []; // what axe found, told at the end
const page = () => browsing.page;
const main = () => page().getByRole('main');
const editor = () => main().getByRole('textbox', { name: 'Definition in YAML' });
const button = (name: string) => main().getByRole('button', { name, exact: true });

const DEFINITION = `description: Notes what is planned.
triggers:
  - event: incident.created
    filter: trigger.payload.severity == 'critical'
actions:
  - action: log
    config:
      message: hello
`;

/** Makes an automation, each test its own, so that each runs alone as well; and opens it. */
async function made(name: string, definition = DEFINITION): Promise<void> {
  const { id } = await core.send<{ id: string }>('POST', '/automations', { name, definition: parse(definition) });
  await browsing.visit(`/automations/${id}`);
  await main().getByText('revision 1').waitFor();
}

/** Opens the form of a new one. */
async function begun(name: string): Promise<void> {
  await browsing.visit('/automations/new');
  await main().getByRole('textbox', { name: 'Name', exact: true }).fill(name);
  await browsing.paste(editor(), DEFINITION);
}

beforeAll(async () => {
  core = await Core.start();
  // A past to try things on.
  for (const severity of ['minor', 'critical', 'major'])
    await core.send('POST', '/incidents', { title: `A ${severity} one`, severity });
  browsing = await Browsing.start(core.url);
  await browsing.enter(TOKEN);
});
afterAll(async () => {
  await browsing?.stop();
  await core?.stop();
});

test('an automation is written with what the schema offers, and told in words', async () => {
  await page().getByRole('navigation').getByRole('link', { name: 'Automations' }).click();
  await main().getByRole('link', { name: 'New automation' }).click();
  await main().getByRole('textbox', { name: 'Name', exact: true }).fill('tell');
  await browsing.paste(editor(), 'mode: ');
  await page().keyboard.press('Control+Space');
  await page().getByRole('option', { name: 'queued' }).click();
  await editor().getByText('mode: queued').waitFor();
  await browsing.paste(editor(), DEFINITION);
  const outline = main().getByRole('region', { name: 'What it says' });
  await outline.getByText("incident.created if trigger.payload.severity == 'critical'").waitFor();
  await outline.getByText('log: message: hello').waitFor();
});

test('a dry run tells on an axis of time when it would have fired, and why not else', async () => {
  await begun('would');
  await button('Dry run').click();
  await main()
    .getByText(/1 time fired, 2 decisions not to/)
    .waitFor();
  const axis = main().getByRole('img', { name: /On the axis of time/ });
  expect(await axis.locator('[data-outcome="fired"]').count()).toBe(1);
  expect(await axis.locator('[data-outcome="filtered"]').count()).toBe(2);
  await main()
    .getByText(/3 decisions, the newest first/)
    .click();
  await main().getByText("trigger.payload.severity == 'critical'").last().waitFor();
  await main().locator('li').getByText('is false').first().waitFor();
  wrong.push(...(await browsing.wrong()));
  await browsing.picture('automation-dry-run');
});

test('a dry run says that it goes on, and is stopped', async () => {
  await begun('long');
  // The core's answer takes as long as it takes, and the page's request for it ends with Stop.
  let answer = () => {};
  const asked = new Promise<void>((resolve) => {
    answer = resolve;
  });
  await page().route('**/api/v1/automations/dry-run', async (route) => {
    await asked;
    await route.continue().catch(() => {}); // nobody waits for it any more
  });
  await main().getByRole('combobox', { name: 'Over' }).click();
  await page().getByRole('option', { name: 'the last week' }).click();
  await button('Dry run').press('Enter');
  const told = main().getByRole('status').getByText('Trying the definition on what happened in the last week…');
  await told.waitFor();
  wrong.push(...(await browsing.wrong()));
  const gone = page().waitForEvent('requestfailed', (request) => request.url().endsWith('/automations/dry-run'));
  await button('Stop').press('Enter');
  expect((await gone).failure()?.errorText).toBe('net::ERR_ABORTED');
  await told.waitFor({ state: 'detached' });
  await button('Stop').waitFor({ state: 'detached' });
  await main()
    .getByText(/Actions are noted, not done/)
    .waitFor();
  expect(await main().getByRole('alert').count()).toBe(0); // who stops it is told nothing wrong
  answer();
  await page().unroute('**/api/v1/automations/dry-run');
  await button('Dry run').press('Enter');
  await main()
    .getByRole('status')
    .getByText(/times? fired/)
    .waitFor();
  expect(await told.count()).toBe(0);
});

test('it is saved, marked where it is wrong, and saved again when it is right', async () => {
  await begun('keep');
  await button('Create the automation').click();
  await main().getByRole('heading', { name: 'keep', level: 1 }).waitFor();
  await main().getByText('revision 1').waitFor();
  await browsing.paste(editor(), DEFINITION.replace('incident.created', 'incident.begun'));
  await button('Save').click();
  await main().getByRole('alert').getByText('incident.begun').waitFor();
  await editor().locator('.cm-lintRange-error').getByText('incident.begun').waitFor();
  await button('Undo').click();
  await editor().getByText('incident.created').waitFor();
  await browsing.paste(editor(), DEFINITION.replace('hello', 'good morning'));
  await button('Save').click();
  await main().getByText('revision 2').waitFor();
  await main().getByText('good morning').first().waitFor();
  wrong.push(...(await browsing.wrong()));
  await browsing.picture('automation');
});

test('it runs when that happens, and the run is told step by step', async () => {
  await made('react');
  await core.send('POST', '/incidents', { title: 'The shop burns', severity: 'critical' });
  await main().getByRole('row', { name: /succe/ }).getByRole('link').click();
  await main().getByRole('heading', { name: 'Run of react', level: 1 }).waitFor();
  await main().getByText('log', { exact: true }).waitFor();
  wrong.push(...(await browsing.wrong()));
});

test('it is run by hand, which leads to the trace, cancelled while it waits, and run again', async () => {
  // What it is given by hand reaches the steps, and one of them waits.
  await made('tell', `${DEFINITION.replace('hello', `${'$'}{{ trigger.payload.who }} asked`)}  - delay: {hours: 1}\n`);
  await button('Run now').press('Enter');
  const dialog = page().getByRole('dialog', { name: 'Run tell' });
  await dialog.getByLabel('Payload').fill('{"who": ');
  await dialog.getByRole('button', { name: 'Run it' }).press('Enter');
  await dialog.getByText('The payload is not valid JSON.').waitFor();
  await dialog.getByLabel('Payload').fill('{"who": "Ada"}');
  wrong.push(...(await browsing.wrong()));
  await dialog.getByRole('button', { name: 'Run it' }).press('Enter');
  await main().getByRole('heading', { name: 'Run of tell', level: 1 }).waitFor();
  await main().getByText('admin ran it').waitFor();
  await main().getByText('"message": "Ada asked"').first().waitFor();
  await main().locator('li').getByText('delay', { exact: true }).waitFor();
  await main().locator('li').getByText('waiting', { exact: true }).waitFor();
  wrong.push(...(await browsing.wrong()));
  await browsing.picture('automation-run');
  await button('Cancel').press('Enter');
  await page().getByRole('dialog').getByRole('button', { name: 'Cancel the run' }).press('Enter');
  await main().getByText('cancelled by admin').waitFor();
  const first = page().url();
  await button('Run again').press('Enter');
  const again = page().getByRole('dialog', { name: 'Run again' });
  await again.getByText('on the same event once more').waitFor();
  wrong.push(...(await browsing.wrong()));
  await again.getByRole('button', { name: 'Run it' }).press('Enter');
  await page().waitForURL((url) => url.href !== first);
  await main().getByText('"message": "Ada asked"').first().waitFor();
  await button('Cancel').click();
  await page().getByRole('dialog').getByRole('button', { name: 'Cancel the run' }).click();
  await button('Run again').waitFor();
});

test('runs are chosen by how they ended, and the address keeps that', async () => {
  await made('choose', `${DEFINITION}  - delay: {hours: 1}\n`);
  for (const end of ['cancel', 'stay']) {
    const { id } = await core.send<{ id: string }>('POST', '/automations/choose/run', {});
    if (end === 'cancel') await core.send('POST', `/automation-runs/${id}/cancel`);
  }
  await browsing.visit('/automations/choose?runs=cancelled');
  await main()
    .getByRole('row', { name: /cancelled/ })
    .first()
    .waitFor();
  expect(
    await main()
      .getByRole('row', { name: /waiting|running/ })
      .count(),
  ).toBe(0);
  await main().getByLabel('Status of runs').first().click();
  await page().getByRole('option', { name: 'in doubt' }).click();
  await main().getByText('No run is in doubt.').waitFor();
  expect(page().url()).toContain('runs=in_doubt');
});

test('it fits a phone in the dark, and is deleted after a question', async () => {
  await made('leave');
  await editor().waitFor();
  await page().setViewportSize({ width: 390, height: 844 });
  await page().emulateMedia({ colorScheme: 'dark' });
  await page().locator(':root[data-mantine-color-scheme="dark"]').waitFor();
  wrong.push(...(await browsing.wrong()));
  expect(await browsing.tooWide()).toBe(0);
  await button('Delete').click();
  await page().getByRole('dialog').getByRole('button', { name: 'Delete it' }).click();
  await main().getByRole('link', { name: 'leave', exact: true }).waitFor({ state: 'detached' });
});

test('no page complained, the policy was kept, and axe found nothing serious', () => {
  expect(browsing.complaints).toEqual([]);
  expect([...new Set(wrong)]).toEqual([]);
});
