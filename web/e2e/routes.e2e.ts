import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROUTES } from './routes';

const root = join(import.meta.dirname, '../..');

test('each page has a picture in light and dark or says why not, and is walked with axe in dark on a phone', () => {
  const router = readFileSync(join(root, 'web/src/app/router.tsx'), 'utf8');
  const routes = [...router.matchAll(/^ {2}page\('([^']+)'/gm)].map(([, path]) => path);
  expect(Object.keys(ROUTES).toSorted()).toEqual(routes.toSorted());
  const pictures = new Set(readdirSync(join(root, 'docs/screenshots')));
  for (const [route, { picture, none }] of Object.entries(ROUTES)) {
    expect(!picture !== !none, `${route} has either a picture or a reason why not`).toBe(true);
    if (!picture) continue;
    expect([...pictures], route).toContain(`${picture}-light.png`);
    expect([...pictures], route).toContain(`${picture}-dark.png`);
    const taken = readdirSync(import.meta.dirname).some(
      (file) =>
        file.endsWith('.e2e.ts') && readFileSync(join(import.meta.dirname, file), 'utf8').includes(`'${picture}'`),
    );
    expect(taken, `a story takes the picture ${picture}`).toBe(true);
  }
});
