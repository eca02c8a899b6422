import type { Schemas } from '../api/client';

export type Event = Schemas['Event'];

const STATUS = ['/status', '/systems/{id}/status'];
const FLEET = ['/satellites', '/satellites/{id}', '/satellites/{id}/transitions', '/regions'];
const HISTORY = ['/systems/{id}/history', '/checks/{id}/history', '/completeness', '/systems/{id}/completeness'];

// What has to be read again when something of a kind has changed, besides the list and
// the one that bear its name.
const AFFECTED: Record<string, string[]> = {
  satellite: [...FLEET, ...STATUS, '/assignments'],
  'satellite-connection': [...FLEET, ...STATUS, '/about'],
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
  'script-package': ['/packages', '/packages/install'],
  'script-packages': ['/packages/install', '/packages/satellites', '/packages/history', '/packages/collect'],
};

// Automations run and channels deliver because something else happened, and nothing
// more is told of it.
const BY_THE_WAY = ['/automation-runs', '/channels/{id}/deliveries', '/channels', '/audit'];

/** The paths of the API whose answers an event has made old. */
export function staleAfter(event: Pick<Event, 'kind'>): string[] {
  return [...(AFFECTED[event.kind] ?? [`/${event.kind}s`, `/${event.kind}s/{id}`]), ...BY_THE_WAY];
}

/**
 * What moves without an event: results that confirm a status, heartbeats, runs. The
 * stream says which of them moved in a comment, and who looks reads that again.
 */
export const MOVED: Record<string, string[]> = {
  'automation-runs': ['/automation-runs', '/automation-runs/{id}'],
  bus: ['/about'],
  cores: ['/about'],
  deliveries: ['/channels', '/channels/{id}/deliveries'],
  heartbeats: ['/satellites/{id}'],
  'package-sync': ['/packages/satellites'],
  results: [...STATUS, ...HISTORY, '/results'],
  'secret-leases': ['/secrets/leases'],
};

/** The paths whose answers a comment of the stream has made old; none for a sign of life. */
export const staleAfterComment = (comment: string): string[] => MOVED[comment] ?? [];

/** An answer that does not change any more: a run that has ended, with what it was doing when it was cancelled. */
export function settled(path: string, answer: unknown): boolean {
  const run = answer as { endedAt?: string | null; steps?: { status: string }[] | null } | undefined;
  return path === '/automation-runs/{id}' && !!run?.endedAt && !run.steps?.some((s) => s.status === 'running');
}
