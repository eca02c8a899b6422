import type { Schemas } from '../api/client';

type Counts = Pick<Schemas['SystemCompleteness'], 'due' | 'awaited' | 'skipped' | 'reported' | 'backfilled'>;

const MEANT = ['paused', 'disabled', 'maintenance']; // nobody expects a run then

/** How many runs should be there by now, and how many of those are not. */
export function missingOf(of: Counts): { expected: number; missing: number } {
  const meant = MEANT.reduce((n, why) => n + (of.skipped[why] ?? 0), 0);
  const expected = of.due - of.awaited - meant;
  return { expected, missing: Math.max(0, expected - of.reported - of.backfilled) };
}
