import type { Schemas } from '../api/client';

type SystemStatus = Schemas['SystemStatus'];
type CheckStatus = Schemas['CheckStatus'];
type LocationStatus = Schemas['LocationStatus'];

/** Why a system has its status, and why nobody was alarmed by it. */
export function reasonOf(s: SystemStatus): string {
  const causes = (s.suppressedBy ?? []).map((cause) => cause.name).join(', ');
  return [s.maintenance ? 'in maintenance' : '', causes && `because of ${causes}`, s.reason].filter(Boolean).join(': ');
}

/** Where a fault may lie, as people say it. */
export const FAULTS: Record<string, string> = { target: 'target down', path: 'path down', observer: 'observer ill' };

type Judged = Pick<CheckStatus, 'status' | 'suspect' | 'class' | 'word' | 'opinion'>;

/** Where the fault lies, on whose word, and what others said of it; '' when there is nothing to say. */
export function wordOf(v: Judged): string {
  const parts: string[] = [];
  if (v.suspect) parts.push(`others are asked first; it says ${v.status} until then`);
  if (v.class && FAULTS[v.class]) parts.push(FAULTS[v.class] as string);
  if (v.word) parts.push(`on the word of ${v.word}`);
  const answers = v.status === 'healthy' && !v.suspect ? [] : (v.opinion?.answers ?? []);
  if (answers.length) {
    parts.push(
      `asked: ${answers.map((a) => `${a.satellite} ${a.void ? `(${a.void})` : a.status || 'has not answered'}`).join(', ')}`,
    );
  }
  return parts.join('; ');
}

/** Why a location does not count for the verdict; '' when it does. */
export function doubtOf(at: LocationStatus): string {
  if (at.fresh) return '';
  if (at.inconclusive) return 'not counted: inconclusive';
  if (!at.online) return at.receivedAt ? 'not counted: satellite offline' : 'satellite offline';
  return at.receivedAt ? 'not counted: too old' : 'waiting for the first result';
}
