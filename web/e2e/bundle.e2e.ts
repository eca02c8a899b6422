import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';

const BUDGET = 300_000;
const TYPES_BUDGET = 1_100_000; // TypeScript with its library, loaded with the first script that is edited
const NODE_BUDGET = 600_000; // what Node has, loaded with the first script that runs in it or in Bun
const dist = join(import.meta.dirname, '../dist');

interface Chunk {
  file: string;
  css?: string[];
  imports?: string[];
  isEntry?: boolean;
}

test('what is loaded before the first page is within the budget', () => {
  const manifest = JSON.parse(readFileSync(join(dist, 'manifest.json'), 'utf8')) as Record<string, Chunk>;
  const files = new Set<string>(['index.html', 'favicon.svg']);
  const follow = (key: string) => {
    const chunk = manifest[key];
    if (!chunk || files.has(chunk.file)) return;
    files.add(chunk.file);
    for (const css of chunk.css ?? []) files.add(css);
    for (const next of chunk.imports ?? []) follow(next);
  };
  // The page that people come to first counts too.
  for (const [key, chunk] of Object.entries(manifest))
    if (chunk.isEntry || key === 'src/pages/overview.tsx') follow(key);
  const sizes = [...files].map(
    (file) => [file, gzipSync(readFileSync(join(dist, file)), { level: 9 }).length] as const,
  );
  const total = sizes.reduce((sum, [, size]) => sum + size, 0);
  console.log(`initial load: ${(total / 1000).toFixed(1)} kB compressed`);
  expect(total, JSON.stringify(sizes)).toBeLessThan(BUDGET);
});

test('what knows the types of scripts is a worker of its own, within its budget', () => {
  for (const [part, budget] of [
    ['script-worker-', TYPES_BUDGET],
    ['script-node-', NODE_BUDGET],
  ] as const) {
    const files = readdirSync(join(dist, 'assets')).filter((name) => name.startsWith(part));
    expect(files).toHaveLength(1);
    const size = gzipSync(readFileSync(join(dist, 'assets', files[0] ?? '')), { level: 9 }).length;
    console.log(`types of scripts (${part}): ${(size / 1000).toFixed(1)} kB compressed`);
    expect(size).toBeLessThan(budget);
  }
});
