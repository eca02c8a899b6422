import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '../..');

test('each picture is there in light and in dark, and the README shows it', () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const shown = [...readme.matchAll(/docs\/screenshots\/([a-z-]+\.png)/g)].map(([, name]) => name);
  const kept = readdirSync(join(root, 'docs/screenshots'));
  const names = new Set(kept.map((name) => name.replace(/-(light|dark)\.png$/, '')));
  const both = [...names].flatMap((name) => [`${name}-dark.png`, `${name}-light.png`]);
  expect(kept.toSorted()).toEqual(both.toSorted());
  expect([...new Set(shown)].toSorted()).toEqual(kept.toSorted());
});
