import { lazy, Suspense, useMemo } from 'react';
import type { Schemas } from '../api/client';
import { duration } from './span';

const Chart = lazy(() => import('./chart'));
const LINES = [
  { key: 'p50Ms', label: 'p50', color: '--good' },
  { key: 'p95Ms', label: 'p95', color: '--accent' },
  { key: 'p99Ms', label: 'p99', color: '--warn' },
] as const;

/** The percentiles of latency of one series, as lines and in words. */
export function Latency({ series, what }: { series: Schemas['Series']; what: string }) {
  const points = series.buckets ?? [];
  const [at, lines] = useMemo(
    () => [
      points.map((p) => Date.parse(p.at)),
      LINES.map((l) => ({ label: l.label, color: l.color, values: points.map((p) => p.latency?.[l.key] ?? null) })),
    ],
    [points],
  );
  const total = series.total.latency;
  if (!total || points.length === 0) return <p className="quiet">No latency was measured in this span.</p>;
  const words = `p50 ${duration(total.p50Ms)}, p95 ${duration(total.p95Ms)}, p99 ${duration(total.p99Ms)}, at most ${duration(total.maxMs)}`;
  return (
    <>
      <p className="quiet small">
        {words}, over {total.count.toLocaleString('en')} runs
      </p>
      <Suspense fallback={<div className="chart" />}>
        <Chart at={at} lines={lines} label={`Latency of ${what}: ${words}`} />
      </Suspense>
    </>
  );
}
