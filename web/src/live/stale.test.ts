import { expect, test } from 'vitest';
import { MOVED, settled, staleAfter, staleAfterComment } from './stale';

test('an event names what it made old', () => {
  expect(staleAfter({ kind: 'health' })).toContain('/status');
  expect(staleAfter({ kind: 'satellite-connection' })).toContain('/regions');
  expect(staleAfter({ kind: 'script-packages' })).toEqual(
    expect.arrayContaining(['/packages/install', '/packages/history', '/packages/satellites']),
  );
  // A kind that is new to the page still has its list and its one.
  expect(staleAfter({ kind: 'dashboard' })).toEqual(expect.arrayContaining(['/dashboards', '/dashboards/{id}']));
});

test('runs of automations that moved are read again, and those that have ended are not', () => {
  expect(staleAfterComment('automation-runs')).toEqual(['/automation-runs', '/automation-runs/{id}']);
  expect(settled('/automation-runs/{id}', { endedAt: null })).toBe(false);
  expect(settled('/automation-runs/{id}', { endedAt: '2026-01-01T00:00:00Z' })).toBe(true);
  const doing = { endedAt: '2026-01-01T00:00:00Z', steps: [{ status: 'running' }] };
  expect(settled('/automation-runs/{id}', doing)).toBe(false);
  expect(settled('/automation-runs', { endedAt: '2026-01-01T00:00:00Z' })).toBe(false);
});

test('what the stream says that moved is read again, and a sign of life reads nothing', () => {
  expect(staleAfterComment('results')).toEqual(
    expect.arrayContaining(['/status', '/results', '/systems/{id}/history']),
  );
  expect(staleAfterComment('still here')).toEqual([]);
  // The core says in its document which comments there are.
  const [document] = Object.values(
    import.meta.glob<string>('../../../internal/httpapi/testdata/openapi.json', {
      query: '?raw',
      import: 'default',
      eager: true,
    }),
  );
  const said = JSON.parse(document ?? '').paths['/events/stream'].get.description.match(/at most: (.*)\./)[1];
  expect(said.split(', ')).toEqual(Object.keys(MOVED));
});

// The one clock moves ages, and reads nothing; the stream's pauses are between connections.
// The router asks whether a core that was away is back, and only while a page of it is missing.
test('no page reads again by time', () => {
  const sources = import.meta.glob<string>('../**/*.{ts,tsx}', { query: '?raw', import: 'default', eager: true });
  const timed = Object.entries(sources)
    .filter(([, text]) => /\b(setInterval|setTimeout|refetchInterval)\b/.test(text))
    .map(([name]) => name);
  expect(timed.filter((name) => !name.endsWith('.test.ts')).sort()).toEqual([
    '../app/router.tsx',
    './hooks.ts',
    './stream.ts',
  ]);
});
