import { expect, test } from 'vitest';
import { staleAfter } from './stale';

test('an event names what it made old', () => {
  expect(staleAfter({ kind: 'health' })).toContain('/status');
  expect(staleAfter({ kind: 'satellite-connection' })).toContain('/regions');
  // A kind that is new to the page still has its list and its one.
  expect(staleAfter({ kind: 'dashboard' })).toEqual(expect.arrayContaining(['/dashboards', '/dashboards/{id}']));
});
