import type { Schemas } from '../api/client';

export type Event = Schemas['Event'];

const STATUS = ['/status', '/systems/{id}/status'];
const FLEET = ['/satellites', '/satellites/{id}', '/satellites/{id}/transitions', '/regions'];
const HISTORY = ['/systems/{id}/history', '/checks/{id}/history', '/completeness', '/systems/{id}/completeness'];

// What has to be read again when something of a kind has changed, besides the list and
// the one that bear its name.
const AFFECTED: Record<string, string[]> = {
  satellite: [...FLEET, ...STATUS, '/assignments'],
  'satellite-connection': [...FLEET, ...STATUS],
  'satellite-observer': [...FLEET, ...STATUS],
  'region-observer': ['/regions'],
  seat: [...FLEET, ...STATUS, '/assignments'],
  system: ['/systems', '/systems/{id}', ...STATUS],
  check: ['/checks', '/checks/{id}', ...STATUS, '/assignments'],
  assignment: ['/assignments', '/assignments/{id}', ...STATUS, ...FLEET],
  health: [...STATUS, ...HISTORY],
  'check-health': [...STATUS, '/checks/{id}/verdicts', '/results', ...HISTORY],
  'check-run': ['/results', '/run-requests/{id}', ...STATUS],
  maintenance: ['/maintenances', '/maintenances/{id}', ...STATUS],
  incident: ['/incidents', '/incidents/{id}'],
  automation: ['/automations', '/automations/{id}', '/automation-runs', '/automation-runs/{id}'],
  channel: ['/channels', '/channels/{id}', '/channels/{id}/deliveries'],
  secret: ['/secrets', '/secrets/leases'],
  'sandbox-policy': ['/sandbox-policy'],
  'script-package': ['/packages', '/packages/install', '/packages/satellites'],
  'script-packages': ['/packages', '/packages/install', '/packages/satellites'],
};

// Automations run and channels deliver because something else happened, and nothing
// more is told of it.
const BY_THE_WAY = ['/automation-runs', '/channels/{id}/deliveries', '/channels', '/audit'];

/** The paths of the API whose answers an event has made old. */
export function staleAfter(event: Pick<Event, 'kind'>): string[] {
  return [...(AFFECTED[event.kind] ?? [`/${event.kind}s`, `/${event.kind}s/{id}`]), ...BY_THE_WAY];
}

/**
 * What moves without an event: results that confirm a status, heartbeats, runs. It is
 * read again at each sign of life of the stream, as long as somebody sees it.
 */
export const MOVES = new Set([
  '/satellites/{id}',
  ...STATUS,
  ...HISTORY,
  '/results',
  '/automation-runs',
  '/automation-runs/{id}',
  '/channels/{id}/deliveries',
  '/packages/satellites',
  '/packages/install',
  '/packages/history',
  '/secrets/leases',
  '/about',
]);
