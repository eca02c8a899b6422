import type { Schema } from '../ui/schema-fields';

const whole = (title: string, description: string, standard?: number, maximum?: number): Schema => ({
  type: 'integer',
  title,
  description,
  minimum: 0,
  maximum,
  default: standard,
});
const group = (title: string, properties: Record<string, Schema>): Schema => ({ type: 'object', title, properties });

/** A policy as a form; what the parts mean is in docs/verdicts.md. */
export const POLICY: Schema = group('Policy', {
  thresholds: group('Results in a row, at one location', {
    unhealthy: whole('Unhealthy after', 'So many unhealthy results.', 1),
    degraded: whole('Degraded after', 'So many that are not healthy; as many as for unhealthy if empty.'),
    recovery: whole('Better after', 'So many better results.', 1),
  }),
  window: group('Failures among the newest results', {
    failures: whole('Failures', 'So many make the location unhealthy.'),
    of: whole('Of the newest', 'So many results are looked at.', undefined, 100),
  }),
  latency: group('Slow results', {
    degradedMs: whole('Degraded from (ms)', 'A result that takes as long counts as degraded.'),
    unhealthyMs: whole('Unhealthy from (ms)', 'A result that takes as long counts as unhealthy.'),
  }),
  flap: group('Flapping', {
    window: whole('Results that are looked at', 'Off unless one of these is given.', 20, 100),
    on: whole('Begins above (%)', 'Of the changes that were possible.', 30, 100),
    off: whole('Ends below (%)', 'Of the changes that were possible.', 25, 100),
  }),
  quorum: group('How many locations must agree', {
    kind: {
      type: 'string',
      title: 'Quorum',
      description: 'Worst: one location is enough.',
      enum: ['worst', 'any', 'all', 'count', 'share', 'regions'],
      default: 'worst',
    },
    count: whole('Count', 'Of locations for count, of regions for regions.'),
    share: whole('Share (%)', 'For share and regions; more than half if empty.', undefined, 100),
  }),
  secondOpinion: group('Second opinion', {
    off: { type: 'boolean', title: 'Ask nobody', description: 'The verdict flips at once.', default: false },
    ask: whole('How many are asked', 'Other satellites, before a verdict flips.', 2),
    wait: { type: 'string', title: 'Wait', description: 'How long for their answers.', default: '2s' },
    domain: {
      type: 'string',
      title: 'Domain',
      description: 'Region or a label: satellites with the same value may fail together.',
      default: 'region',
    },
  }),
});
