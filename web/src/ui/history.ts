import type { Schemas } from '../api/client';
import type { Bar } from './bars';
import { duration, percent, plural } from './span';

type Point = Schemas['Point'];
type Summary = Schemas['Summary'];

const STEPS: Record<string, number> = { minute: 60_000, hour: 3_600_000, day: 86_400_000 };
export const stepOf = (step: string): number => STEPS[step] ?? 60_000;

const COUNTS = ['unhealthy', 'degraded', 'healthy', 'inconclusive'] as const;

/**
 * Bars of the buckets of a history, gathered so that there are at most `most`: the worst
 * that was measured gives the tone, and where nothing ran there is no bar. They are counted
 * from the end, so that what is now is as wide as any other.
 */
export function barsOf(points: Point[], from: number, to: number, step: number, most = 90): Bar[] {
  const width = Math.max(step, Math.ceil((to - from) / most / step) * step);
  const gathered = new Map<number, { counts: Record<(typeof COUNTS)[number], number>; p95: number }>();
  for (const p of points) {
    const at = to - Math.max(1, Math.ceil((to - Date.parse(p.at)) / width)) * width;
    const bar = gathered.get(at) ?? { counts: { unhealthy: 0, degraded: 0, healthy: 0, inconclusive: 0 }, p95: 0 };
    for (const of of COUNTS) bar.counts[of] += p[of];
    bar.p95 = Math.max(bar.p95, p.latency?.p95Ms ?? 0);
    gathered.set(at, bar);
  }
  const highest = Math.max(1, ...[...gathered.values()].map((b) => b.p95));
  return [...gathered.entries()]
    .sort(([a], [b]) => a - b)
    .map(([at, { counts, p95 }]) => {
      const worst = COUNTS.find((of) => counts[of] > 0) ?? 'inconclusive';
      const tone =
        worst === 'unhealthy' ? 'bad' : worst === 'degraded' ? 'warn' : worst === 'healthy' ? 'good' : 'none';
      const said = COUNTS.filter((of) => counts[of]).map((of) => `${counts[of]} ${of}`);
      return {
        from: Math.max(at, from),
        to: at + width,
        tone,
        height: tone === 'bad' ? 1 : p95 / highest, // what is down may have no latency
        title: [...said, p95 ? `p95 ${duration(p95)}` : ''].filter(Boolean).join(', '),
      };
    });
}

/** Says in words what the bars show; '' where nothing was measured. */
export function summaryOf(total: Summary): string {
  return [
    total.availability === null ? '' : `${percent(total.availability)} up`,
    total.latency ? `p95 ${duration(total.latency.p95Ms)}` : '',
    total.inconclusive ? plural(total.inconclusive, 'inconclusive run') : '',
  ]
    .filter(Boolean)
    .join(', ');
}
