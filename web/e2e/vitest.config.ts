import { defineConfig } from 'vitest/config';

// One story after the other: they share a core, a satellite and a browser.
export default defineConfig({
  test: {
    include: ['e2e/**/*.e2e.ts'],
    testTimeout: 300_000,
    hookTimeout: 120_000,
    fileParallelism: false,
    sequence: { concurrent: false },
    bail: 1,
  },
});
