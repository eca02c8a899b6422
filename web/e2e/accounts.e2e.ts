import { afterAll, beforeAll, expect, test } from 'vitest';
import { Browsing } from './browser';
import { Core, Target } from './core';

const PASSWORD = 'correct horse battery';

let core: Core;
let browsing: Browsing;
let watched: string;
const target = new Target();
const wrong: string[] = []; // what axe found, told at the end
const page = () => browsing.page;
const main = () => page().getByRole('main');
const dialog = () => page().getByRole('dialog');
const menu = (name: string) => page().getByRole('navigation').getByRole('link', { name, exact: true });
const button = (name: string | RegExp) => main().getByRole('button', { name, exact: true });

// A fresh core, which nobody administers yet.
beforeAll(async () => {
  [core, watched] = await Promise.all([Core.start({ fresh: true }), target.start()]);
  browsing = await Browsing.start(core.url);
});
afterAll(async () => {
  await browsing?.stop();
  await core?.stop();
  target.stop();
});

async function looksRight(name?: string): Promise<void> {
  wrong.push(...(await browsing.wrong()));
  expect(await browsing.tooWide()).toBe(0);
  if (name) await browsing.picture(name);
}

/** Signs in whoever is out. */
async function signIn(user: string, password: string): Promise<void> {
  await page().getByLabel('Name').fill(user);
  await page()
    .getByLabel(/^Password/)
    .fill(password);
  await page().getByRole('button', { name: 'Sign in', exact: true }).click();
  await page().getByText('Live', { exact: true }).waitFor();
}

async function signOut(): Promise<void> {
  await page().getByRole('button', { name: 'Appearance and session' }).click();
  await page().getByRole('menuitem', { name: 'Sign out' }).click();
  await page().getByRole('button', { name: 'Sign in', exact: true }).waitFor();
}

/** Is the administrator of the core, who is made when no test before has done that: each test runs alone as well. */
async function administrator(): Promise<void> {
  await page().goto('/');
  const { setup } = (await (await fetch(`${core.url}/session`)).json()) as { setup: boolean };
  if (!setup) return;
  const [, code] = /#setup=(\S+)/.exec(await core.says(/#setup=\S+/)) ?? [];
  await fetch(`${core.url}/setup`, {
    method: 'POST',
    body: JSON.stringify({ code, user: 'root', password: PASSWORD }),
  });
  await page().reload();
  await signIn('root', PASSWORD);
}

/** Asks the API as who is signed in. */
const send = (method: string, path: string, body?: object) =>
  page().evaluate(
    async ({ method, path, text }) => {
      const answer = await fetch(`/api/v1${path}`, {
        method,
        body: text,
        headers: { 'Content-Type': 'application/json' },
      });
      const said = await answer.text();
      return said ? JSON.parse(said) : null;
    },
    { method, path, text: body && JSON.stringify(body) },
  );

test('who has the code makes the administrator, something to watch, and a satellite that comes online', async () => {
  const [, code] = /#setup=(\S+)/.exec(await core.says(/#setup=\S+/)) ?? [];
  await page().goto('/');
  await page().getByText('Nobody administers this core yet').waitFor();
  await page().getByLabel('Set-up code').fill('AAAAAAAAAAAAAAAAAAAAAAAAAA');
  await page().getByLabel('Name').fill('Root');
  await page()
    .getByLabel(/^Password/)
    .fill(PASSWORD);
  await page().getByRole('button', { name: 'Create the administrator' }).click();
  await page().getByRole('alert').getByText('the set-up code is not right').waitFor();
  await looksRight('set-up');
  await page()
    .getByLabel('Set-up code')
    .fill(code as string);
  await page().getByRole('button', { name: 'Create the administrator' }).click();

  await page().getByRole('heading', { name: 'First steps' }).waitFor();
  await main().getByLabel('Name').fill('shop');
  await main().getByLabel('URL').fill(watched);
  await looksRight('first-steps');
  await button('Watch it').click();
  await main().getByRole('link', { name: 'shop' }).waitFor();
  await main().getByLabel('Satellite').fill('fra-1');
  await main().getByLabel('Region').fill('eu');
  await button('Create the satellite').click();
  const command = (await page().locator('[data-command="shell"]').textContent()) ?? '';
  const [, token] = /TOKEN=(\S+)/.exec(command) ?? [];
  const [, id] = /--id (\S+)/.exec(command) ?? [];
  core.satellite(id as string, token as string);
  await page().getByText('It is online.').waitFor();
  await button('Done').click();
  await page().getByRole('heading', { name: 'Overview' }).waitFor();
  await main().locator('[data-status="healthy"]').first().waitFor();

  // The code is spent, and another start would print none.
  const again = await fetch(`${core.url}/setup`, {
    method: 'POST',
    body: JSON.stringify({ code, user: 'eve', password: PASSWORD }),
  });
  expect(again.status).toBe(409);
});

test('a token is made, works from outside as what it may, and ends', async () => {
  await administrator();
  await menu('API tokens').click();
  await button('New token').click();
  await dialog().getByLabel('Name').fill('dashboard');
  await dialog().getByRole('button', { name: 'Create' }).click();
  const token = (await page().locator('[data-secret]').textContent()) ?? '';
  expect(token).toMatch(/^perigee_/);
  await page().keyboard.press('Escape'); // which would lose it
  await dialog().getByRole('button', { name: 'Done' }).click();
  const ask = (method: string, path: string, body?: object) =>
    fetch(`${core.url}/api/v1${path}`, {
      method,
      headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
      body: body && JSON.stringify(body),
    });
  expect((await ask('GET', '/systems')).status).toBe(200);
  expect((await ask('POST', '/systems', { name: 'mine' })).status).toBe(403);
  await page().reload();
  await main()
    .getByRole('row', { name: /dashboard viewer root .*ago/ })
    .waitFor();
  await looksRight('tokens');
  await button('Revoke dashboard').click();
  await dialog().getByRole('button', { name: 'Revoke it' }).click();
  await main()
    .getByRole('row', { name: /dashboard/ })
    .waitFor({ state: 'detached' });
  expect((await ask('GET', '/systems')).status).toBe(401);
});

test('a secret is set and never shown', async () => {
  await administrator();
  await menu('Secrets').click();
  await main().getByText('No secrets yet').waitFor();
  await button('New secret').click();
  await dialog().getByLabel('Name').fill('shop-password');
  await dialog().getByLabel('Value').fill('hunter2hunter2');
  await dialog().getByLabel('What it is for').fill('the shop’s sign-in');
  await dialog().getByRole('button', { name: 'Set it' }).click();
  await main()
    .getByRole('row', { name: /shop-password .* 1 / })
    .waitFor();
  await page().reload();
  await main()
    .getByRole('row', { name: /shop-password/ })
    .waitFor();
  expect(await page().content()).not.toContain('hunter2');
  await looksRight('secrets');
  await button('Rotate the key').click();
  await dialog().getByRole('button', { name: 'Rotate it' }).click();
  await dialog().getByText('1 secret is sealed by key').waitFor();
  await page().keyboard.press('Escape');
  await dialog().waitFor({ state: 'detached' });
});

/** Sets the sandbox policy, with the keyboard alone. */
async function keyboardOnly(): Promise<void> {
  const keys = page().keyboard;
  const list = main().getByLabel('Allowed');
  await list.focus();
  await keys.type('api.example.org');
  await keys.press('Enter');
  await main().getByLabel('Processes', { exact: true }).fill('64');
  await button('Save').press('Enter');
  await button('Back to the default').waitFor();
  // What no satellite takes is said at its field.
  await main().getByLabel('Processes', { exact: true }).fill('9999999');
  await button('Save').press('Enter');
  await main().getByText('must be from 1 to 65536').waitFor();
  await main().getByLabel('Processes', { exact: true }).fill('64');
  // Who lets scripts do more is asked, and may think better of it.
  await main().getByRole('switch').press('Space');
  await button('Save').press('Enter');
  await dialog().getByText('Scripts may do on every satellite what its user can.').waitFor();
  await looksRight();
  await keys.press('Escape');
  await dialog().waitFor({ state: 'detached' });
  expect((await send('GET', '/sandbox-policy')).policy.enabled).toBe(true);
  await button('Save').press('Enter');
  await dialog().getByRole('button', { name: 'Let them' }).press('Enter');
  await dialog().waitFor({ state: 'detached' });
  const { policy } = await send('GET', '/sandbox-policy');
  expect([policy.enabled, policy.network.allow, policy.resources.maxProcesses]).toEqual([
    false,
    ['api.example.org'],
    64,
  ]);
  await button('Back to the default').press('Enter');
  await dialog().getByRole('button', { name: 'Take the default' }).press('Enter');
  await button('Back to the default').waitFor({ state: 'detached' });
}

test('packages are listed, settings and the core itself shown', async () => {
  await administrator();
  await menu('Packages').click();
  await main().getByText('No packages yet').waitFor();
  await button('Add a package').click();
  await dialog().getByLabel('Package').fill('zod');
  await dialog().getByLabel('Exact version').fill('latest');
  await dialog().getByRole('button', { name: 'Add it' }).click();
  await dialog().getByText('not an exact version').waitFor();
  await dialog().getByLabel('Exact version').fill('4.2.1');
  await dialog().getByRole('button', { name: 'Add it' }).click();
  await main()
    .getByRole('row', { name: /zod 4\.2\.1 yes/ })
    .waitFor();
  await looksRight('packages');
  await main().getByText('cannot import what is on the list until it is installed').waitFor();
  await button('Delete what no tree needs').click();
  await dialog().getByText('There is nothing to delete').waitFor();
  expect(await dialog().getByRole('button', { name: 'Delete', exact: true }).isDisabled()).toBe(true);
  await page().keyboard.press('Escape');
  const refusal = { status: 409, contentType: 'application/problem+json', body: '{"title": "Not now"}' };
  await page().route('**/packages/enabled', (route) => route.fulfill(refusal));
  await button('Leave out zod').click();
  await main().getByRole('alert').getByText('Not now').waitFor();
  await page().unroute('**/packages/enabled');
  await button('Leave out zod').click();
  await main()
    .getByRole('row', { name: /zod 4\.2\.1 left out/ })
    .waitFor();
  await button('Remove zod').click();
  await dialog().getByRole('button', { name: 'Take it off the list' }).click();
  await main().getByText('No packages yet').waitFor();

  await menu('Settings').click();
  await main()
    .getByRole('row', { name: /--keep-audit .*PERIGEE_KEEP_AUDIT .*9600h/ })
    .waitFor();
  await main().getByText('start it again').waitFor();
  const copied = async (what: string) => {
    await button(`Copy ${what}`).press('Enter');
    await expect.poll(() => page().evaluate(() => navigator.clipboard.readText())).toBe(what);
  };
  await page().context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await copied('--keep-audit=9600h');
  await copied('PERIGEE_KEEP_AUDIT=9600h');
  await copied('--trust-forwarded=false');
  await copied('--database='); // its value may have a password in it
  await main()
    .getByRole('row', { name: /session age/ })
    .waitFor();
  await keyboardOnly();
  await looksRight('settings');
  await menu('About').click();
  await main().getByText('sqlite').waitFor();
  await main().getByText('this one').waitFor();
  await looksRight('about');
});

test('a viewer sees nothing that is refused, and is refused what they try', async () => {
  await administrator();
  await send('POST', '/systems', { name: 'files' });
  await send('POST', '/satellites', { name: 'par-1', region: 'eu' });
  await menu('Users').click();
  await button('New user').click();
  await dialog().getByLabel('Name').fill('vera');
  await dialog().getByRole('button', { name: 'Create' }).click();
  const password = (await page().locator('[data-secret]').textContent()) ?? '';
  await dialog().getByRole('button', { name: 'Done' }).click();
  await main()
    .getByRole('row', { name: /vera viewer yes never/ })
    .waitFor();
  await looksRight('users');
  await button('Delete: root').click();
  await dialog().getByRole('button', { name: 'Delete them' }).click();
  await dialog().getByText('is the only administrator').waitFor();
  await page().keyboard.press('Escape');
  await signOut();
  await signIn('vera', password);

  expect(await menu('Users').count()).toBe(0);
  expect(await menu('Audit log').count()).toBe(0);
  const system = await page().evaluate(async () => (await (await fetch('/api/v1/systems')).json()).items[0].id);
  const satellite = await page().evaluate(async () => (await (await fetch('/api/v1/satellites')).json()).items[0].id);
  const places = [
    '/',
    '/systems',
    `/systems/${system}`,
    '/checks',
    '/satellites',
    `/satellites/${satellite}`,
    '/incidents',
  ];
  for (const path of [
    ...places,
    '/maintenances',
    '/automations',
    '/channels',
    '/packages',
    '/secrets',
    '/settings',
    '/about',
  ]) {
    await browsing.visit(path);
    const doing = main().getByRole('button', {
      name: /^(New|Edit|Delete|Rotate|More|Run now|Plan|Open an|Add|Install|Send|Save|Enable|Disable|Remove|Turn|Maintain|Leave out)/,
    });
    expect(await doing.allTextContents(), path).toEqual([]);
    const links = main().getByRole('link', { name: /^(New|Edit|Plan)/ });
    expect(await links.allTextContents(), path).toEqual([]);
  }
  const refused = await page().evaluate(
    async (id) => (await fetch(`/api/v1/systems/${id}`, { method: 'DELETE' })).status,
    system,
  );
  expect(refused).toBe(403);
  await page().goto('/audit');
  await main().getByText('this needs the role admin').waitFor();

  // What they have of their own: a token, and another password.
  await menu('API tokens').click();
  await button('New token').waitFor();
  await page().goto('/password');
  await main().getByLabel('Your password now').fill('wrong');
  await main()
    .getByLabel(/^The new one\W*$/)
    .fill(PASSWORD);
  await main().getByLabel('The new one again').fill(PASSWORD);
  await button('Change it and sign in again').click();
  await main().getByText('this is not your password').waitFor();
  await main().getByLabel('Your password now').fill(password);
  await button('Change it and sign in again').click();
  await signIn('vera', PASSWORD);
  await signOut();
  await signIn('root', PASSWORD);
});

test('the audit log has what was done, and is filtered in its address', async () => {
  await administrator();
  await send('POST', '/users', { name: 'otto', role: 'viewer' });
  await send('PUT', '/secrets/door', { value: 'hunter2hunter2' });
  const { id } = await send('POST', '/systems', { name: 'mail', description: 'sends' });
  await send('PUT', `/systems/${id}`, {
    name: 'mail',
    description: 'sends and takes',
    labels: { password: 'hunter2' },
  });
  const token = await send('POST', '/tokens', { name: 'looker', role: 'viewer' });
  await fetch(`${core.url}/api/v1/systems/${id}`, {
    method: 'DELETE',
    headers: { Authorization: `Bearer ${token.text}` },
  });
  await send('DELETE', `/tokens/${token.token.id}`);
  await send('DELETE', `/systems/${id}`);
  await page().goto('/audit');
  await main()
    .getByRole('row', { name: /root .*create-user user otto allowed/ })
    .waitFor();
  await main()
    .getByRole('row', { name: /looker .*delete-system system mail refused/ })
    .waitFor();
  await main()
    .getByRole('row', { name: /root .*set-secret secret door allowed/ })
    .waitFor();
  await main()
    .getByRole('row', { name: /root .*delete-system system mail allowed/ })
    .waitFor();
  const changed = main().getByRole('row', { name: /update-system system mail allowed/ });
  await changed.getByText('2 fields, before and after').press('Enter');
  await changed.locator('del').getByText('sends', { exact: true }).waitFor();
  await changed.locator('ins').getByText('sends and takes', { exact: true }).waitFor();
  expect(await main().textContent()).not.toContain('hunter2');
  await looksRight('audit');
  await main().getByLabel('Did, such as delete').fill('token');
  await page().waitForURL(/what=token/);
  await main()
    .getByRole('row', { name: /revoke-token token looker/ })
    .waitFor();
  await main()
    .getByRole('row', { name: /create-user/ })
    .first()
    .waitFor({ state: 'detached' });
  await page().reload();
  await main()
    .getByRole('row', { name: /revoke-token token looker/ })
    .waitFor();
  expect(
    await main()
      .getByRole('row', { name: /create-user/ })
      .count(),
  ).toBe(0);
});

test('the pages fit a phone, in dark too, and axe found nothing serious', async () => {
  await administrator();
  await page().emulateMedia({ colorScheme: 'dark' });
  await page().setViewportSize({ width: 390, height: 844 });
  for (const path of [
    '/users',
    '/tokens',
    '/audit',
    '/packages',
    '/secrets',
    '/settings',
    '/about',
    '/welcome',
    '/password',
  ]) {
    await browsing.visit(path);
    wrong.push(...(await browsing.wrong()));
    expect(await browsing.tooWide(), path).toBe(0);
  }
  expect(browsing.complaints).toEqual([]);
  expect([...new Set(wrong)]).toEqual([]);
});
