import type { Event } from './stale';

/** Kinds of things that are as they are, not as somebody set them up. The core takes at most 16 at once. */
export const HEALTH = [
  'health',
  'check-health',
  'satellite-connection',
  'satellite-observer',
  'region-observer',
  'core',
  'incident',
];

const SET_UP =
  /\.(created|updated|changed|deleted|removed|moved|cordoned|uncordoned|draining|(token|key)_rotated|previous_token_revoked|policy_changed)$/;

/** Whether an event tells that something was set up differently; all others tell how something is. */
export const isSetUp = (event: Pick<Event, 'kind' | 'type'>): boolean =>
  !HEALTH.includes(event.kind) && SET_UP.test(event.type);

/** The newest n of both sorts, so that a thousand changes push no outage away. Newest first, as they come. */
export function newest(events: Event[], n: number): Event[] {
  let [setUp, other] = [0, 0];
  return events.filter((event) => (isSetUp(event) ? setUp++ : other++) < n);
}

/** How far apart changes may be that are told in one line, in milliseconds. */
export const APART = 5 * 60_000;

/** Gathers changes, newest first, into one line for what the same one did to things of the same kind without a pause. */
export function gathered(events: Event[]): Event[][] {
  const open = new Map<string, Event[]>();
  const lines: Event[][] = [];
  for (const event of events) {
    const key = `${event.kind} ${event.actor?.type} ${event.actor?.name}`;
    const line = open.get(key);
    const before = line?.at(-1);
    if (line && before && Date.parse(before.at) - Date.parse(event.at) <= APART) {
      line.push(event);
      continue;
    }
    const begun = [event];
    open.set(key, begun);
    lines.push(begun);
  }
  return lines;
}

/** Tells changes that were gathered; `more` when there may be some that are not here. */
export function wordsOfChanges(events: Event[], more = false): string {
  const [first] = events;
  if (!first) return '';
  const n = `${more ? 'at least ' : ''}${events.length.toLocaleString('en')}`;
  const things = first.kind.replaceAll('-', ' ').replace(/y$/, 'ie').replace(/s?$/, 's');
  const by = first.actor?.type === 'system' || !first.actor?.name ? '' : ` by ${first.actor.name}`;
  const verbs: Record<string, string> = { created: 'were created', deleted: 'were deleted', removed: 'were deleted' };
  const verb = verbs[first.type.split('.')[1] ?? ''];
  return verb && events.every(({ type }) => type === first.type)
    ? `${n} ${things} ${verb}${by}`
    : `${n} changes of ${things}${by}`;
}
