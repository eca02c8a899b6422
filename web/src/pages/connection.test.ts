import { expect, test } from 'vitest';
import { blindBars, connectionBars, edgesOf } from './connection';

const at = (ms: number) => new Date(ms).toISOString();

test('edges become spans, cut to the window', () => {
  const edges = edgesOf([
    { field: 'lastEvent', to: 'connected', at: at(9000) },
    { field: 'status', to: 'online', at: at(9000) },
    { field: 'lastEvent', to: 'heartbeat_lost', at: at(6000) },
    { field: 'lastEvent', to: 'connected', at: at(1000) },
  ]);
  expect(edges.map((e) => e.at)).toEqual([1000, 6000, 9000]);
  expect(connectionBars(edges, 2000, 10_000)).toEqual([
    { from: 2000, to: 6000, tone: 'good', title: 'connected for 5 s' },
    { from: 6000, to: 9000, tone: 'bad', title: 'silent, no heartbeat for 3 s' },
    { from: 9000, to: 10_000, tone: 'good', title: 'connected for 1 s' },
  ]);
});

test('spans without a core are their own', () => {
  expect(
    blindBars(
      [
        { from: 0, to: 3000 },
        { from: 20_000, to: 30_000 },
      ],
      1000,
      10_000,
    ),
  ).toEqual([{ from: 1000, to: 3000, tone: 'blind', title: 'no core was looking for 3 s' }]);
});
