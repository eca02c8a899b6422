import { expect, test } from 'vitest';
import type { Schemas } from '../api/client';
import { barsOf } from './history';

const MINUTE = 60_000;
const point = (minute: number, of: Partial<Schemas['Point']>) =>
  ({
    at: new Date(minute * MINUTE).toISOString(),
    healthy: 0,
    degraded: 0,
    unhealthy: 0,
    inconclusive: 0,
    ...of,
  }) as Schemas['Point'];
const latency = (p95Ms: number) => ({ p95Ms }) as Schemas['LatencySummary'];

test('bars gather buckets, tell the worst, and are not there where nothing ran', () => {
  const points = [
    point(0, { healthy: 2, latency: latency(50) }),
    point(1, { healthy: 1, unhealthy: 1, latency: latency(100) }),
    point(5, { inconclusive: 1 }),
  ];
  expect(barsOf(points, 0, 6 * MINUTE, MINUTE, 3)).toEqual([
    { from: 0, to: 2 * MINUTE, tone: 'bad', height: 1, title: '1 unhealthy, 3 healthy, p95 100 ms' },
    { from: 4 * MINUTE, to: 6 * MINUTE, tone: 'none', height: 0, title: '1 inconclusive' },
  ]);
});

test('what is down has a bar of full height, however fast or slow it was', () => {
  const points = [point(0, { healthy: 1, latency: latency(100) }), point(1, { unhealthy: 1 })];
  expect(barsOf(points, 0, 2 * MINUTE, MINUTE).map((bar) => bar.height)).toEqual([1, 1]);
});

test('the newest bar is as wide as the others, whatever is left over is at the beginning', () => {
  const points = [point(0, { healthy: 1 }), point(5, { healthy: 1 }), point(6, { unhealthy: 1 })];
  expect(barsOf(points, 0, 7 * MINUTE, MINUTE, 4).map(({ from, to, tone }) => ({ from, to, tone }))).toEqual([
    { from: 0, to: MINUTE, tone: 'good' },
    { from: 5 * MINUTE, to: 7 * MINUTE, tone: 'bad' },
  ]);
});
