import { clock, plural } from '../ui/span';
import { isSetUp } from './happening';
import type { Event } from './stale';

// biome-ignore lint/suspicious/noExplicitAny: what events carry is by their type
type Known = Record<string, any>;

/** Names of things by their ids. */
export type Names = (id: string) => string | undefined;

/** Tells an event; '' when another event of the same change tells it better. */
export function wordsOfEvent(event: Event, names: Names): string {
  const known = (event.payload ?? {}) as Known;
  const next = (event.next ?? {}) as Known;
  const prev = (event.prev ?? {}) as Known;
  const by = event.actor?.type === 'system' || !event.actor?.name ? '' : ` by ${event.actor.name}`;
  const satellite = known.region
    ? `${known.name} (${known.region})`
    : (known.name ?? names(event.entityId) ?? 'a satellite');
  const system = known.systemName ?? names(known.systemId ?? event.entityId) ?? 'a system';
  switch (event.type) {
    case 'satellite.connected':
      return `${satellite} connected`;
    case 'satellite.disconnected':
      return `${satellite} disconnected`;
    case 'satellite.heartbeat_lost':
      return `${satellite} went silent: no heartbeat`;
    case 'satellite.ill':
      return `${satellite} is ill itself: ${(known.ill ?? []).map((i: Known) => i.kind).join(', ')}`;
    case 'satellite.well':
      return `${satellite} is well again`;
    case 'satellite.clock_skew':
      return `the clock of ${satellite} is ${Math.abs(known.clockOffsetMs / 1000).toFixed(1)} s ${known.clockOffsetMs < 0 ? 'ahead' : 'behind'}`;
    case 'satellite.clock_right':
      return `the clock of ${satellite} is right again`;
    case 'satellite.created':
      return `satellite ${satellite} was created${by}`;
    case 'satellite.updated':
      return `satellite ${satellite} was changed${by}`;
    case 'satellite.removed':
      return `satellite ${satellite} was deleted${by}`;
    case 'satellite.token_rotated':
      return `satellite ${satellite} got a new token${by}`;
    case 'region.ill':
      return `most satellites of ${known.region} are ill themselves: ${(known.satellites ?? []).join(', ')}`;
    case 'region.well':
      return `the satellites of ${known.region} are well again`;
    case 'healthcheck.system_health_changed':
      return known.previousStatus
        ? `${system} went from ${known.previousStatus} to ${known.newStatus}`
        : `${system} is ${known.newStatus}`;
    case 'healthcheck.system_healthy':
    case 'healthcheck.system_degraded':
    case 'healthcheck.check_failed': // each run that fails, where an automation asks for them
      return '';
    case 'healthcheck.check_degraded': {
      const of = known.checkName ?? names(known.configurationId) ?? 'a check';
      return known.previousStatus
        ? `${of} of ${system} went from ${known.previousStatus} to ${known.status}`
        : `${of} of ${system} is ${known.status}`;
    }
    case 'maintenance.started':
      return `maintenance ${known.name} began`;
    case 'maintenance.ended':
      return `maintenance ${known.name} ended`;
    case 'core.blind':
      return `no core was watching from ${clock(known.from)} to ${clock(known.to)}`;
    case 'script-packages.changed':
      return 'another tree of packages was installed';
    case 'script-packages.failed':
      return 'installing packages failed';
    case 'entity.changed':
      if (event.kind === 'script-packages') return ''; // how far an installation is
      if (event.kind === 'health' && next.totalChecks)
        return `${system}: ${next.healthyChecks} of ${plural(next.totalChecks, 'check')} healthy`;
      if (!isSetUp(event)) return '';
      return `${event.kind.replaceAll('-', ' ')} ${next.name ?? prev.name ?? known.name ?? event.entityId} was ${event.prev ? (event.next ? 'changed' : 'deleted') : 'created'}${by}`;
  }
  const title = known.name ?? known.title ?? names(event.entityId) ?? event.entityId;
  if (known.previousName) return `${event.kind} ${known.previousName} was renamed to ${known.name}${by}`;
  const verb = event.type.split('.')[1]?.replaceAll('_', ' ');
  const verbs: Record<string, string> = { created: 'was created', updated: 'was changed', deleted: 'was deleted' };
  return verb ? `${event.kind} ${title} ${verbs[verb] ?? `was ${verb}`}${by}` : `${event.type} ${title}`;
}

const PLACES: Record<string, string> = {
  satellite: '/satellites',
  'satellite-connection': '/satellites',
  'satellite-observer': '/satellites',
  system: '/systems',
  health: '/systems',
  check: '/checks',
  incident: '/incidents',
  automation: '/automations',
  maintenance: '/maintenances',
};

/** Where more is said of what an event is about; undefined where there is no such page. */
export function placeOf(event: Pick<Event, 'kind' | 'entityId' | 'type'>): string | undefined {
  const place = PLACES[event.kind];
  if (!place || /\.(removed|deleted)$/.test(event.type)) return undefined;
  return place === '/maintenances' ? place : `${place}/${event.entityId}`;
}

/** The tone of an event: what is wrong stands out of what is not. */
export function toneOfEvent(event: Event): 'good' | 'warn' | 'bad' | 'none' {
  const known = (event.payload ?? {}) as Known;
  const status = known.newStatus ?? known.status;
  if (
    ['satellite.disconnected', 'satellite.heartbeat_lost', 'core.blind'].includes(event.type) ||
    status === 'unhealthy'
  )
    return 'bad';
  if (
    /(ill|clock_skew|token_expiring|duplicate_identity|failing|packages\.failed)$/.test(event.type) ||
    status === 'degraded'
  )
    return 'warn';
  if (/(connected|well|clock_right|recovered)$/.test(event.type) || status === 'healthy') return 'good';
  return 'none';
}
