import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer, type Server } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Browsing } from './browser';
import { Core, Target, TOKEN } from './core';

let core: Core;
let browsing: Browsing;
let watched: string;
let reference: Server; // what fra-1 looks at to know whether it is well itself
const target = new Target();
const wrong: string[] = []; // what axe found, told at the end
const page = () => browsing.page;
const main = () => page().getByRole('main');
const dialog = () => page().getByRole('dialog');
const button = (name: string | RegExp) => main().getByRole('button', { name, exact: true });

beforeAll(async () => {
  [core, watched] = await Promise.all([Core.start(), target.start()]);
  reference = createServer((socket) => socket.end()).listen(0, '127.0.0.1');
  await once(reference, 'listening');
  const { port } = reference.address() as AddressInfo;
  await core.enrol('fra-1', 'eu', { tier: 'edge' }, ['--reference', `tcp://127.0.0.1:${port}`, '--no-watch-gateway']);
  browsing = await Browsing.start(core.url);
  await browsing.enter(TOKEN);
});
afterAll(async () => {
  await browsing?.stop();
  await core?.stop();
  reference?.close();
  target.stop();
});

const request = (url: string) => ({
  strategy: 'healthcheck-http.http',
  config: { timeout: 5000 },
  interval: '1s',
  collectors: [
    {
      id: 'page',
      collector: 'healthcheck-http.request',
      config: { url },
      assertions: [{ field: 'statusCode', operator: 'equals', value: 200 }],
    },
  ],
});

test('a check is run now by a button, and its page shows the phases of its runs', async () => {
  await core.watch('shop', 'front-page', { ...request(watched), interval: '1h' }, 'fra-1');
  await page().goto('/checks/front-page');
  await button('Run now').click();
  await page().locator('.actions [data-status="healthy"]').waitFor();
  await main().getByRole('heading', { name: 'Phases of a run' }).waitFor();
  await main()
    .locator('.phases-legend')
    .getByText(/connect/)
    .waitFor();
  wrong.push(...(await browsing.wrong()));
});

test('results that change nothing reach the page, and where none are shown only the menu asks', async () => {
  await core.send('PUT', '/checks/front-page', { name: 'front-page', spec: request(watched) });
  const asked: string[] = [];
  const note = (r: { url(): string }) => asked.push(new URL(r.url()).pathname);
  await page().goto('/systems/shop');
  await main()
    .getByRole('row', { name: /fra-1 eu healthy/ })
    .waitFor();
  for (let n = 0; n < 2; n++) await page().waitForResponse(/systems\/[^/]+\/status$/);
  await page().goto('/users');
  await main().getByRole('heading', { name: 'Users' }).waitFor();
  await page().waitForLoadState('load');
  await page().getByText('Live', { exact: true }).waitFor();
  page().on('request', note);
  await page().evaluate(async () => {
    const stream = await fetch('/api/v1/events/stream');
    const reader = stream.body?.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ''; text.split(': results\n').length < 3; ) text += (await reader?.read())?.value ?? '';
    await reader?.cancel();
  });
  page().off('request', note);
  expect(new Set(asked)).toEqual(new Set(['/api/v1/events/stream', '/api/v1/status']));
});

test('a satellite that is ill itself is marked, and its failures count as inconclusive', async () => {
  await page().goto('/systems/shop');
  await main()
    .getByRole('row', { name: /fra-1 eu healthy/ })
    .waitFor();
  reference.close();
  target.stop(); // to the satellite the network is gone
  await main()
    .getByText(/observer ill/)
    .first()
    .waitFor();
  wrong.push(...(await browsing.wrong()));
  await page().goto('/checks/front-page');
  await main()
    .getByText(/observer ill/)
    .first()
    .waitFor();
  await page().goto('/satellites/fra-1');
  await main().getByText('It is ill itself').waitFor();
  await main()
    .getByText(/reference/)
    .first()
    .waitFor();
  wrong.push(...(await browsing.wrong()));
});

test('a verdict that others are still asked about is marked as suspect', async () => {
  const fails = new Target();
  const url = await fails.start();
  await core.enrol('ber-1', 'de');
  const silent = await core.enrol('nyc-1', 'us');
  await core.send('POST', '/systems', { name: 'till' });
  await core.send('POST', '/checks', { name: 'till-page', spec: request(url) });
  await core.send('POST', '/assignments', {
    name: 'till-page-till',
    check: 'till-page',
    system: 'till',
    includeLocal: false,
    satellites: { names: ['ber-1'] },
    policy: { secondOpinion: { ask: 2, wait: '30s' } },
  });
  await page().goto('/systems/till');
  await main()
    .getByRole('row', { name: /ber-1 de healthy/ })
    .waitFor();
  // Who is asked does not answer for now.
  silent.kill('SIGSTOP');
  try {
    fails.up = false;
    await main().locator('[data-status="suspect"]').first().waitFor();
    wrong.push(...(await browsing.wrong()));
    await page().goto('/checks/till-page');
    await main().locator('[data-status="suspect"]').first().waitFor();
  } finally {
    silent.kill('SIGCONT');
  }
  await main().locator('[data-status="unhealthy"]').first().waitFor();
  fails.stop();
});

test('satellites that are chosen are cordoned, labelled, drained and deleted together', async () => {
  for (const name of ['old-1', 'old-2']) await core.send('POST', '/satellites', { name, region: 'old' });
  await page().goto('/satellites?region=old');
  await button('Choose all 2').click();
  const bulk = main().getByRole('region', { name: 'What is chosen' });
  await bulk.getByRole('button', { name: 'Cordon', exact: true }).click();
  await bulk.getByText('Cordoned: 2 of 2').waitFor();
  await main()
    .getByRole('row', { name: /old-1.*cordoned/ })
    .waitFor();
  await bulk.getByRole('button', { name: 'Uncordon' }).click();
  await bulk.getByText('Uncordoned: 2 of 2').waitFor();
  await bulk.getByRole('button', { name: 'Drain' }).click();
  await bulk.getByText('Told to drain: 2 of 2').waitFor();
  await bulk.getByRole('button', { name: 'Labels' }).click();
  await dialog().getByRole('textbox', { name: 'Labels' }).fill('rack');
  await dialog().getByRole('button', { name: 'Set the labels' }).click();
  await dialog().getByText('is no label').waitFor();
  await dialog().getByRole('textbox', { name: 'Labels' }).fill('rack=r7');
  await dialog().getByRole('button', { name: 'Set the labels' }).click();
  await bulk.getByText('Labelled: 2 of 2').waitFor();
  await main()
    .getByRole('row', { name: /old-2.*rack=r7/ })
    .waitFor();
  wrong.push(...(await browsing.wrong()));
  await browsing.picture('satellites-bulk');
  await bulk.getByRole('button', { name: 'Delete' }).click();
  expect(await dialog().getByRole('button', { name: 'Delete them' }).isDisabled()).toBe(true);
  await dialog().getByRole('checkbox', { name: 'Yes, delete all 2' }).check();
  await dialog().getByRole('button', { name: 'Delete them' }).click();
  await main().getByText('No satellite matches.').waitFor();
});

test('one satellite is drained from its page', async () => {
  await page().goto('/satellites/ber-1');
  await button('More').click();
  await page().getByRole('menuitem', { name: 'Drain' }).click();
  await main().getByText('draining', { exact: true }).waitFor();
});

test('no page complained, the policy was kept, and axe found nothing serious', () => {
  expect(browsing.complaints).toEqual([]);
  expect([...new Set(wrong)]).toEqual([]);
});
