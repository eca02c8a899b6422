import type { ReactNode } from 'react';

// Each status has a shape besides its colour, and a word beside both.
const SHAPES: Record<string, ReactNode> = {
  good: (
    <path d="M8 1.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13Zm3.4 4.6-4.1 4.7a.8.8 0 0 1-1.15.04L4.4 9.1l1.06-1.1 1.2 1.15 3.6-4.1Z" />
  ),
  warn: (
    <path d="M8.9 1.9 15.2 13a1 1 0 0 1-.9 1.5H1.7A1 1 0 0 1 .8 13L7.1 1.9a1 1 0 0 1 1.8 0ZM7.2 5.5v4.2h1.6V5.5Zm0 5.4v1.6h1.6v-1.6Z" />
  ),
  bad: (
    <path d="M5 1h6l4 4v6l-4 4H5l-4-4V5Zm.2 3.1L4.1 5.2 6.9 8l-2.8 2.8 1.1 1.1L8 9.1l2.8 2.8 1.1-1.1L9.1 8l2.8-2.8-1.1-1.1L8 6.9Z" />
  ),
  none: (
    <path d="M8 1.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13ZM8 3a5 5 0 1 1 0 10A5 5 0 0 1 8 3Zm-2.5 4.2v1.6h5V7.2Z" />
  ),
  half: <path d="M8 1.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13ZM8 3v10A5 5 0 0 1 8 3Z" />,
};

const TONES: Record<string, [tone: string, shape: string]> = {
  healthy: ['good', 'good'],
  online: ['good', 'good'],
  succeeded: ['good', 'good'],
  completed: ['good', 'good'],
  delivered: ['good', 'good'],
  resolved: ['good', 'good'],
  ready: ['good', 'good'],
  degraded: ['warn', 'warn'],
  minor: ['warn', 'warn'],
  major: ['warn', 'warn'],
  ill: ['warn', 'warn'],
  unhealthy: ['bad', 'bad'],
  offline: ['bad', 'bad'],
  failed: ['bad', 'bad'],
  error: ['bad', 'bad'],
  critical: ['bad', 'bad'],
  inconclusive: ['none', 'half'],
  suspect: ['warn', 'half'],
};

/** The tone of a status, which is a class of theme.css; what is not known is grey. */
export const toneOf = (status: string): string => TONES[status]?.[0] ?? 'none';

export function Status({ of, children, quiet }: { of: string; children?: ReactNode; quiet?: boolean }) {
  const [tone, shape] = TONES[of] ?? ['none', 'none'];
  return (
    <span className={`status tone-${tone}${quiet ? ' status-quiet' : ''}`} data-status={of}>
      <svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true" fill="currentColor" fillRule="evenodd">
        {SHAPES[shape]}
      </svg>
      <span>{children ?? of}</span>
    </span>
  );
}

export const WORST_FIRST = ['unhealthy', 'degraded', 'unknown', 'healthy'];
export const severity = (status: string): number => {
  const i = WORST_FIRST.indexOf(status);
  return i < 0 ? 2 : i;
};
