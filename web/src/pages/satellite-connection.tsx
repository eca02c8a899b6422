import { useMemo } from 'react';
import { clockAhead, queries, type Schemas } from '../api/client';
import { useNow } from '../live/hooks';
import { Bars } from '../ui/bars';
import { Card, Read } from '../ui/page';
import { plural } from '../ui/span';
import { Moment } from '../ui/time';
import { useWindow, WindowPicker } from '../ui/window';
import { blindBars, connectionBars, edgesOf } from './connection';

const WORDS: Record<string, string> = {
  connected: 'connected',
  disconnected: 'disconnected',
  heartbeat_lost: 'went silent: no heartbeat',
};

/** When it was there, when not, and when no core was looking. */
export function ConnectionCard({ of: s }: { of: Schemas['Satellite'] }) {
  const [, ms] = useWindow();
  const transitions = queries.useQuery('get', '/satellites/{id}/transitions', {
    params: { path: { id: s.id }, query: { limit: 1000 } },
  });
  const events = queries.useQuery('get', '/events', {
    params: { query: { kind: ['core'], type: 'core.blind', newest: true, limit: 1000 } },
  });
  const edges = useMemo(() => edgesOf(transitions.data?.items ?? []), [transitions.data]);
  const blind = useMemo(
    () =>
      (events.data?.items ?? [])
        .map((e) => e.payload as { from: string; to: string })
        .map((p) => ({ from: Date.parse(p.from), to: Date.parse(p.to) })),
    [events.data],
  );
  const to = Math.ceil((useNow() + clockAhead) / 10_000) * 10_000;
  const from = to - ms;
  const shown = edges.filter((e) => e.at >= from);
  const losses = shown.filter((e) => e.edge !== 'connected').length;
  const words =
    s.lastConnectionEvent === null
      ? 'never connected'
      : `${plural(losses, 'loss', 'losses')} in this span, now ${s.status}`;
  return (
    <Card title="Connection" aside={<WindowPicker />}>
      <Read query={transitions}>
        {() => (
          <div className="stack">
            <Bars
              from={from}
              to={to}
              bars={[...connectionBars(edges, from, to), ...blindBars(blind, from, to)]}
              label={`Connection: ${words}`}
            />
            <p className="quiet small">{words}</p>
            {shown.length > 0 && (
              <details>
                <summary>{plural(shown.length, 'change')}</summary>
                <ol className="list events">
                  {shown
                    .slice(-50)
                    .reverse()
                    .map((e) => (
                      <li key={`${e.at}-${e.edge}`}>
                        <Moment at={e.at} />
                        <span>{WORDS[e.edge] ?? e.edge}</span>
                      </li>
                    ))}
                </ol>
              </details>
            )}
          </div>
        )}
      </Read>
    </Card>
  );
}
