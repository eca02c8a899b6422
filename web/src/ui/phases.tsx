import { lazy, Suspense } from 'react';
import type { Schemas } from '../api/client';
import type { Line } from './chart';
import { duration } from './span';

const Chart = lazy(() => import('./chart'));

type Timings = Schemas['Timings'];

/** The phases of a run in their order, each with its colour. */
export const PHASES = [
  { key: 'dnsMs', label: 'name', color: '--phase-1' },
  { key: 'connectMs', label: 'connect', color: '--phase-2' },
  { key: 'tlsMs', label: 'TLS', color: '--phase-3' },
  { key: 'waitMs', label: 'wait', color: '--phase-4' },
  { key: 'processingMs', label: 'processing', color: '--phase-6' },
  { key: 'transferMs', label: 'transfer', color: '--phase-5' },
] as const satisfies { key: keyof Timings; label: string; color: string }[];

/** How long each phase of one run took, as a bar and in words. */
export function Phases({ of: timings }: { of: Timings }) {
  const parts = PHASES.flatMap((p) => {
    const ms = timings[p.key];
    return ms === undefined ? [] : [{ ...p, ms }];
  });
  const total = parts.reduce((sum, p) => sum + p.ms, 0);
  if (!total) return null;
  return (
    <div>
      <div className="phases" aria-hidden="true">
        {parts.map((p) => (
          <span key={p.key} style={{ flexGrow: p.ms, background: `var(${p.color})` }} />
        ))}
      </div>
      <ul className="phases-legend small">
        {parts.map((p) => (
          <li key={p.key}>
            <span className="swatch" style={{ background: `var(${p.color})` }} /> {p.label} {duration(p.ms)}
          </li>
        ))}
      </ul>
    </div>
  );
}

/** A run with its phases, as far as they are kept. */
export interface Phased {
  at: number;
  timings: Timings;
}

/** The runs that say how long their phases took, oldest first. */
export function phasedOf(runs: Schemas['Run'][]): Phased[] {
  return runs
    .flatMap((r) => {
      const timings = (r.result as { metadata?: { timings?: Timings } } | null | undefined)?.metadata?.timings;
      return timings ? [{ at: Date.parse(r.executedAt), timings }] : [];
    })
    .sort((a, b) => a.at - b.at);
}

/** The phases of runs over time, and those of the newest in words. */
export function PhaseChart({ of: runs, what }: { of: Phased[]; what: string }) {
  const newest = runs.at(-1);
  if (!newest) return <p className="quiet">No run that is kept says how long its phases took.</p>;
  const lines: Line[] = PHASES.filter((p) => runs.some((r) => r.timings[p.key] !== undefined)).map((p) => ({
    label: p.label,
    color: p.color,
    values: runs.map((r) => r.timings[p.key] ?? null),
  }));
  const first = runs[0]?.at ?? newest.at;
  return (
    <>
      <p className="quiet small">The newest run:</p>
      <Phases of={newest.timings} />
      {runs.length > 1 && (
        <Suspense fallback={<div className="chart" />}>
          <Chart
            at={runs.map((r) => r.at)}
            lines={lines}
            from={first}
            to={newest.at}
            label={`Phases of ${what}: ${lines.map((l) => l.label).join(', ')}`}
          />
        </Suspense>
      )}
    </>
  );
}
