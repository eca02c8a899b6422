import { lazy, Suspense, useMemo } from 'react';
import type { Schemas } from '../api/client';
import type { Line } from './chart';
import { duration, plural } from './span';

const Chart = lazy(() => import('./chart'));
const LINES = [
  { key: 'p50Ms', label: 'p50', color: '--good' },
  { key: 'p95Ms', label: 'p95', color: '--accent' },
  { key: 'p99Ms', label: 'p99', color: '--warn' },
] as const;

/** The percentiles of latency of a history's first series, as lines and in words. */
export function Latency({ of: history, what }: { of: Schemas['History']; what: string }) {
  const [at, lines] = useMemo((): [number[], Line[]] => {
    const points = history.series?.[0]?.buckets ?? [];
    return [
      points.map((p) => Date.parse(p.at)),
      LINES.map(({ key, label, color }) => ({ label, color, values: points.map((p) => p.latency?.[key] ?? null) })),
    ];
  }, [history]);
  const total = history.series?.[0]?.total.latency;
  if (!total || at.length === 0) return <p className="quiet">No latency was measured in this span.</p>;
  const words = `p50 ${duration(total.p50Ms)}, p95 ${duration(total.p95Ms)}, p99 ${duration(total.p99Ms)}, at most ${duration(total.maxMs)}`;
  return (
    <>
      <p className="quiet small">
        {words}, over {plural(total.count, 'run')}
      </p>
      <Suspense fallback={<div className="chart" />}>
        <Chart
          at={at}
          lines={lines}
          from={Date.parse(history.from)}
          to={Date.parse(history.to)}
          label={`Latency of ${what}: ${words}`}
        />
      </Suspense>
    </>
  );
}
