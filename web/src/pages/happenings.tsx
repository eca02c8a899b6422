import { Link } from '@tanstack/react-router';
import { type ReactNode, useMemo } from 'react';
import { clockAhead, queries, type Schemas, useMay } from '../api/client';
import { APART, gathered, HEALTH, isSetUp, wordsOfChanges } from '../live/happening';
import { useHeard } from '../live/hooks';
import type { Event } from '../live/stale';
import { KEPT_EVENTS } from '../live/stream';
import { placeOf, toneOfEvent, wordsOfEvent } from '../live/words';
import { Card } from '../ui/page';
import { plural } from '../ui/span';
import { Moment } from '../ui/time';

const HOUR = 3_600_000;
const SHOWN = { happened: 60, setUp: 20 };

/** What happened lately, as it happens, and apart from it what somebody set up differently. */
export function Happenings({ systems }: { systems: Schemas['SystemStatus'][] }) {
  const limit = KEPT_EVENTS;
  // What is of health is asked for by itself: a thousand changes push none of it away.
  const health = queries.useQuery('get', '/events', { params: { query: { newest: true, limit, kind: HEALTH } } });
  const all = queries.useQuery('get', '/events', { params: { query: { newest: true, limit } } });
  const heard = useHeard();
  const names = useMemo(() => {
    const known = new Map<string, string>();
    for (const s of systems) {
      known.set(s.systemId, s.system);
      for (const c of s.checks ?? []) known.set(c.checkId, c.check);
    }
    return (id: string) => known.get(id);
  }, [systems]);
  const told = useMemo(() => {
    const bySeq = new Map<number, Event>();
    for (const event of [...(health.data?.items ?? []), ...(all.data?.items ?? []), ...heard])
      bySeq.set(event.seq, event);
    return [...bySeq.values()].filter((event) => wordsOfEvent(event, names)).sort((a, b) => b.seq - a.seq);
  }, [health.data, all.data, heard, names]);
  const since = Date.now() + clockAhead - HOUR;
  const recent = (events: Event[]) => events.filter((event) => Date.parse(event.at) >= since);
  const happened = told.filter((event) => !isSetUp(event));
  const changes = recent(told.filter(isSetUp));
  const lately = recent(happened);
  // Where older ones were left out, a line whose oldest is near the oldest of all may be of more.
  const full = (all.data?.items ?? []).length >= limit || heard.filter(isSetUp).length >= limit;
  const mayBeMore = (oldest?: Event, ofAll = changes.at(-1)) =>
    full && !!oldest && !!ofAll && Date.parse(oldest.at) - Date.parse(ofAll.at) <= APART;
  const what = (event: Event) => {
    const to = placeOf(event);
    const tone = toneOfEvent(event);
    const text = wordsOfEvent(event, names);
    return (
      <span className={tone === 'none' ? undefined : `tone-${tone}`}>
        {to ? (
          <Link to={to} style={{ color: 'inherit' }}>
            {text}
          </Link>
        ) : (
          text
        )}
      </span>
    );
  };
  return (
    <>
      <Card
        title={lately.length || !happened.length ? 'What happened in the last hour' : 'What happened last'}
        aside={lately.length ? plural(lately.length, 'event') : null}
        pad={false}
      >
        {happened.length === 0 ? (
          <p className="notice">
            {health.isPending ? 'Reading…' : 'Nothing yet. What happens from now on appears here.'}
          </p>
        ) : (
          <ol className="list events newest" aria-live="off">
            {(lately.length ? lately : happened).slice(0, SHOWN.happened).map((event) => (
              <Line key={event.seq} at={event.at}>
                {what(event)}
              </Line>
            ))}
          </ol>
        )}
      </Card>
      {changes.length > 0 && (
        <Card title="What was set up in the last hour" aside={<ToAudit>audit log</ToAudit>} pad={false}>
          <ol className="list events" aria-live="off">
            {gathered(changes)
              .slice(0, SHOWN.setUp)
              .map((events) => {
                const [event] = events as [Event];
                const more = mayBeMore(events.at(-1));
                return (
                  <Line key={(events.at(-1) ?? event).seq} at={event.at}>
                    {events.length === 1 && !more ? (
                      what(event)
                    ) : (
                      <ToAudit who={event.actor?.type === 'system' ? undefined : event.actor?.name}>
                        {wordsOfChanges(events, more)}
                      </ToAudit>
                    )}
                  </Line>
                );
              })}
          </ol>
        </Card>
      )}
    </>
  );
}

function Line({ at, children }: { at: string; children: ReactNode }) {
  return (
    <li>
      <Moment at={at} />
      {children}
    </li>
  );
}

/** The way to the audit log of the last hour, for who may read it. */
function ToAudit({ who, children }: { who?: string; children: ReactNode }) {
  const may = useMay();
  if (!may('list-audit')) return children;
  return (
    <Link to="/audit" search={{ since: 'hour', ...(who && { who }) } as never}>
      {children}
    </Link>
  );
}
