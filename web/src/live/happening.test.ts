import { expect, test } from 'vitest';
import { gathered, isSetUp, newest, wordsOfChanges } from './happening';
import type { Event } from './stale';

const began = Date.parse('2026-03-01T03:00:00Z');
let seq = 0;

function event(type: string, kind: string, second: number, name = 'ada'): Event {
  seq++;
  const at = new Date(began + second * 1000).toISOString();
  const actor = { type: 'user', id: name, name };
  return {
    seq,
    type,
    kind,
    entityId: `e${seq}`,
    changeId: '',
    changed: [],
    prev: {},
    next: {},
    payload: {},
    actor,
    at,
  };
}

test('what was set up is told from how things are', () => {
  for (const [type, kind] of [
    ['check.created', 'check'],
    ['entity.changed', 'automation'],
    ['satellite.token_rotated', 'satellite'],
    ['maintenance.updated', 'maintenance'],
    ['assignment.moved', 'seat'],
  ] as const)
    expect(isSetUp({ type, kind }), type).toBe(true);
  for (const [type, kind] of [
    ['entity.changed', 'health'],
    ['healthcheck.check_degraded', 'check-health'],
    ['satellite.heartbeat_lost', 'satellite-connection'],
    ['incident.created', 'incident'],
    ['maintenance.started', 'maintenance'],
    ['channel.failing', 'channel'],
    ['script-packages.failed', 'script-packages'],
    ['satellite.duplicate_identity', 'satellite'],
    ['something.new', 'new-kind'],
  ] as const)
    expect(isSetUp({ type, kind }), type).toBe(false);
});

test('a thousand changes push no outage away', () => {
  const lost = event('satellite.heartbeat_lost', 'satellite-connection', 0);
  const changes = Array.from({ length: 1000 }, (_, i) => event('check.created', 'check', 1 + i / 100));
  const kept = newest([...changes.toReversed(), lost], 200);
  expect(kept).toHaveLength(201);
  expect(kept.at(-1)).toBe(lost);
});

test('changes of one person to one kind without a long pause are one line', () => {
  const first = event('check.created', 'check', 0);
  const created = Array.from({ length: 12 }, (_, i) => event('check.created', 'check', 1000 + i));
  const assigned = event('assignment.created', 'assignment', 1005);
  const others = event('check.updated', 'check', 1006, 'bob');
  const all = [first, ...created, assigned, others].sort((a, b) => Date.parse(b.at) - Date.parse(a.at));
  const lines = gathered(all);
  expect(lines.map((line) => line.length)).toEqual([12, 1, 1, 1]);
  expect(wordsOfChanges(lines[0] ?? [])).toBe('12 checks were created by ada');
  expect(lines.flat()).toHaveLength(all.length);
  expect(wordsOfChanges([...created, event('check.updated', 'check', 1012)], true)).toBe(
    'at least 13 changes of checks by ada',
  );
});
