import { expect, test } from 'vitest';
import type { Schemas } from '../api/client';
import { phasedOf } from './phases';

test('runs that say how long their phases took come oldest first', () => {
  const run = (executedAt: string, result: unknown) => ({ executedAt, result }) as Schemas['Run'];
  expect(
    phasedOf([
      run('2026-01-01T00:00:02Z', { metadata: { timings: { waitMs: 2 } } }),
      run('2026-01-01T00:00:01Z', { metadata: { timings: { waitMs: 1 } } }),
      run('2026-01-01T00:00:00Z', { metadata: {} }),
      run('2026-01-01T00:00:00Z', undefined),
    ]).map((p) => p.timings.waitMs),
  ).toEqual([1, 2]);
});
