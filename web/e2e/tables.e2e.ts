import { afterAll, beforeAll, expect, test } from 'vitest';
import { Browsing } from './browser';
import { Core, Target, TOKEN } from './core';

let core: Core;
let browsing: Browsing;
let watched: string;
let verdict: string;
const target = new Target();
const page = () => browsing.page;

// Every table: where it is, its name, a column with values that differ, and a word that some
// of its rows have and others do not.
const TABLES: [path: () => string, label: string, column: string, word: string][] = [
  [() => '/satellites', 'Satellites', 'Name', 'nyc'],
  [() => '/satellites/fra-1', 'What it checks', 'Check', 'front'],
  [() => '/satellites/fra-1', 'Recent runs', 'Status', 'unhealthy'],
  [() => '/systems', 'Systems', 'System', 'till'],
  [() => '/systems/shop', 'What is measured of front-page', 'Satellite', 'nyc'],
  [() => '/systems/shop', 'Assignments', 'Check', 'front'],
  [() => '/checks', 'Checks', 'Check', 'front'],
  [() => '/checks/front-page', 'Assignments', 'System', 'till'],
  [() => '/checks/front-page', 'Verdicts', 'Verdict', 'unhealthy'],
  [() => `/checks/front-page/evidence/${verdict}`, 'What each location said', 'Satellite', 'fra'],
  [() => `/checks/front-page/evidence/${verdict}`, 'The runs that it rests on', 'Satellite', 'fra'],
  [() => '/maintenances', 'Maintenances', 'Name', 'move'],
  [() => '/incidents', 'Incidents', 'Incident', 'smokes'],
  [() => '/automations', 'Automations', 'Automation', 'second'],
  [() => '/automations', 'Runs', 'Automation', 'second'],
  [() => '/automations/first', 'Runs', 'Because', 'burns'],
  [() => '/channels', 'Channels', 'Channel', 'night'],
  [() => '/packages', 'Packages', 'Package', 'zod'],
  [() => '/packages', 'On satellites', 'Satellite', 'nyc'],
  [() => '/secrets', 'Secrets', 'Name', 'till'],
  [() => '/tokens', 'API tokens', 'Name', 'board'],
  [() => '/users', 'Users', 'Name', 'vera'],
  [() => '/settings', 'Settings', 'Setting', 'audit'],
  [() => '/settings', 'Limits', 'Limit', 'session'],
];

beforeAll(async () => {
  [core, watched] = await Promise.all([Core.start(), target.start()]);
  await Promise.all([core.enrol('fra-1', 'eu'), core.enrol('nyc-1', 'us')]);
  for (const name of ['shop', 'till']) await core.send('POST', '/systems', { name });
  for (const name of ['front-page', 'cart']) {
    await core.send('POST', '/checks', {
      name,
      spec: {
        strategy: 'healthcheck-http.http',
        interval: '1h', // runs when it is told to, so that nothing moves while it is looked at
        collectors: [
          {
            id: 'page',
            collector: 'healthcheck-http.request',
            config: { url: watched },
            assertions: [{ field: 'statusCode', operator: 'equals', value: 200 }],
          },
        ],
      },
    });
    for (const system of name === 'cart' ? ['shop'] : ['shop', 'till']) {
      await core.send('POST', '/assignments', {
        name: `${name}-${system}`,
        system,
        check: name,
        includeLocal: false,
        satellites: { names: ['fra-1', 'nyc-1'] },
        policy: { secondOpinion: { off: true } },
      });
    }
  }
  type Runs = { id: string; runs: { state: string }[] };
  const over = (r: Runs) => r.runs.filter((run) => !['waiting', 'sent'].includes(run.state)).length;
  for (target.up of [true, false]) {
    for (const system of ['shop', 'till']) {
      let runs = await core.send<Runs>('POST', '/checks/front-page/run', { system });
      while (over(runs) < runs.runs.length)
        runs = await core.send<Runs>('GET', `/run-requests/${runs.id}?wait=20s&over=${over(runs)}`);
    }
  }
  type Verdicts = { items: { id: string; status: string }[] };
  while (!verdict) {
    const { items } = await core.send<Verdicts>('GET', '/checks/front-page/verdicts?system=shop');
    verdict = items.find((v) => v.status === 'unhealthy')?.id ?? '';
  }
  for (const name of ['first', 'second']) {
    await core.send('POST', '/automations', {
      name,
      definition: {
        triggers: [{ event: 'incident.created' }],
        actions: [{ action: 'log', config: { message: 'hm' } }],
      },
    });
  }
  for (const title of ['The shop burns', 'The till smokes'])
    await core.send('POST', '/incidents', { title, severity: 'minor' });
  const [start, end] = [1, 2].map((hours) => new Date(Date.now() + hours * 3_600_000).toISOString());
  for (const name of ['move', 'upgrade'])
    await core.send('POST', '/maintenances', { name, systems: { names: ['shop'] }, start, end });
  for (const name of ['day', 'night'])
    await core.send('POST', '/channels', { name, type: 'webhook', enabled: false, config: { url: watched } });
  for (const name of ['zod', 'ms']) await core.send('POST', '/packages', { name, version: '4.2.1' });
  for (const name of ['shop', 'till']) await core.send('PUT', `/secrets/${name}`, { value: 'hunter2hunter2' });
  for (const name of ['vera', 'otto']) await core.send('POST', '/users', { name, role: 'viewer' });
  for (const name of ['dashboard', 'robot']) await core.send('POST', '/tokens', { name, role: 'viewer' });
  for (;;) {
    const { items } = await core.send<{ items: { status: string }[] }>('GET', '/automation-runs');
    if (items.filter((run) => ['success', 'skipped'].includes(run.status)).length === 4) break;
  }
  browsing = await Browsing.start(core.url);
  await browsing.enter(TOKEN);
});
afterAll(async () => {
  await browsing?.stop();
  await core?.stop();
  target.stop();
});

const table = (label: string) => page().getByRole('region', { name: label, exact: true });

/** What the column has, row by row. */
async function cells(label: string, column: string): Promise<string[]> {
  const titles = (await table(label).locator('thead tr > *').allTextContents()).map((t) => t.replace(/ [↑↓]$/, ''));
  return table(label)
    .locator(`tbody tr:not(.spacer) td:nth-child(${titles.indexOf(column) + 1})`)
    .allTextContents();
}

for (const [path, label, column] of [
  [() => `/checks/front-page/evidence/${verdict}`, 'The runs that it rests on', 'Executed'],
  [() => '/audit', 'Audit log', 'When'],
] as const) {
  test(`${label} has the newest first, and says that it descends`, async () => {
    await browsing.visit(path());
    const title = table(label).getByRole('columnheader', { name: column });
    const at = () =>
      table(label)
        .locator('tbody tr td:first-child time')
        .evaluateAll((all) => all.map((t) => (t as HTMLTimeElement).dateTime));
    await title.waitFor();
    expect(await title.getAttribute('aria-sort')).toBe('descending');
    const times = await at();
    expect(new Set(times).size).toBeGreaterThan(1);
    expect(times).toEqual(times.toSorted().toReversed());
    await title.getByRole('button').click();
    await table(label).locator('[aria-sort=ascending]').waitFor();
    expect(await at()).toEqual(times.toReversed());
  });
}

for (const [path, label, column, word] of TABLES) {
  test(`${label} (${path().replace('undefined', '…')}) is sorted and searched, and its address keeps it`, async () => {
    await browsing.visit(path());
    const title = table(label).getByRole('columnheader', { name: column });
    const sortedBy = (order: string) =>
      table(label)
        .getByRole('columnheader', { name: column })
        .and(page().locator(`[aria-sort=${order}]`))
        .waitFor();
    await title.waitFor();
    if ((await title.getAttribute('aria-sort')) !== 'ascending') await title.getByRole('button').click();
    await sortedBy('ascending');
    const up = await cells(label, column);
    await title.getByRole('button').click();
    await sortedBy('descending');
    const down = await cells(label, column);
    expect(down).toEqual(up.toReversed());
    expect(down).not.toEqual(up);

    const name = label.startsWith('What is measured of') ? 'Locations' : label;
    const search = page().getByRole('textbox', { name: `Search ${name}`, exact: true });
    await search.fill(word);
    await page().waitForURL((url) => url.search.includes(`q=${word}`));
    await page()
      .getByRole('status')
      .getByText(/^\d+ of /)
      .waitFor();
    const found = await table(label).locator('tbody tr:not(.spacer)').allTextContents();
    expect(found.length).toBeGreaterThan(0);
    expect(found.length).toBeLessThan(up.length);
    for (const row of found) expect(row.toLowerCase()).toContain(word);

    const kept = await cells(label, column);
    await page().reload();
    await sortedBy('descending');
    expect(await search.inputValue()).toBe(word);
    expect(await cells(label, column)).toEqual(kept);
  });
}

test('the newest results of a location are told in words, on a phone too', async () => {
  await page().setViewportSize({ width: 390, height: 844 });
  await browsing.visit(`/checks/front-page/evidence/${verdict}`);
  await table('What each location said')
    .getByRole('row', { name: /fra-1/ })
    .getByText('unhealthy, healthy', { exact: true })
    .waitFor();
  await page().setViewportSize({ width: 1280, height: 800 });
});

test('a table is filtered by what a column has, told when nothing is left, and shown whole again', async () => {
  await browsing.visit('/systems');
  await page().getByRole('combobox', { name: 'Status of Systems' }).click();
  await page().getByRole('option', { name: 'unhealthy' }).click();
  await page().waitForURL(/status=unhealthy/);
  await page().getByRole('textbox', { name: 'Search Systems' }).fill('nowhere');
  await page().getByText('No system matches.').waitFor();
  await page().getByRole('button', { name: 'Show all' }).click();
  await table('Systems').getByRole('row', { name: /till/ }).waitFor();
  expect(new URL(page().url()).search).toBe('');
});

test('a check of two systems is run for both by one button', async () => {
  await browsing.visit('/checks/front-page');
  await page().getByRole('button', { name: 'Run now' }).click();
  await page().locator('.actions [data-status="unhealthy"]').nth(3).waitFor();
});

test('what is wrong with a placement is said at its field before it is saved', async () => {
  await browsing.visit('/assignments/new?check=front-page&system=shop');
  await page()
    .getByRole('textbox', { name: /^And on all that match/ })
    .fill('region in (');
  await page().getByText('Where it would run is not known yet.').waitFor();
  await page().getByText('expected a value, found the end').waitFor();
});

test('the audit log is sorted as others, and asks the core for what is searched', async () => {
  await browsing.visit('/audit?what=incident');
  await table('Audit log').getByRole('columnheader', { name: 'To' }).getByRole('button').click();
  await page().reload();
  const to = await cells('Audit log', 'To');
  expect(to).toEqual(to.toSorted((a, b) => a.localeCompare(b, undefined, { numeric: true })));
  for (const did of await cells('Audit log', 'Did')) expect(did).toContain('incident');
});

test('no table is missing here', async () => {
  const listed = new Set(TABLES.map(([, label]) => label));
  const all = new Set<string>();
  for (const path of new Set(TABLES.map(([path]) => path()))) {
    await browsing.visit(path);
    for (const name of await page()
      .locator('section:has(> table.data)')
      .evaluateAll((s) => s.map((n) => n.ariaLabel)))
      if (name) all.add(name);
    expect(await page().locator('table:not(section > table.data, .u-legend)').count(), `tables of ${path}`).toBe(0);
  }
  expect([...all].filter((name) => !listed.has(name) && !name.startsWith('What is measured of'))).toEqual([]);
});

// Pages that no story of another file stops at.
const PAGES: [path: string, name: string][] = [
  ['/systems', 'systems'],
  ['/checks', 'checks'],
  ['/checks/front-page', 'check'],
  ['/assignments/new?check=front-page&system=shop', 'assignment-editor'],
  ['/incidents', 'incidents'],
  ['/automations', 'automations'],
  ['/automations/new', 'automation-editor'],
  ['/channels', 'channels'],
];

test('lists and editors are right, and have their pictures', async () => {
  for (const [path, name] of PAGES) {
    await browsing.visit(path);
    expect(await browsing.wrong(), path).toEqual([]);
    expect(await browsing.tooWide(), path).toBe(0);
    await browsing.picture(name);
  }
});

test('no page complained', () => {
  expect(browsing.complaints).toEqual([]);
});
