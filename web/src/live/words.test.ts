import { expect, test } from 'vitest';
import type { Event } from './stale';
import { wordsOfEvent } from './words';

const event = (kind: string, prev: object | null, next: object | null) =>
  ({
    type: 'entity.changed',
    kind,
    entityId: 'e1',
    prev,
    next,
    payload: {},
    actor: { type: 'user', name: 'ada' },
  }) as unknown as Event;
const words = (of: Event) => wordsOfEvent(of, () => undefined);

test('a change from which nothing more telling derives is told of what somebody set up', () => {
  const night = { name: 'night' };
  expect(words(event('automation', null, night))).toBe('automation night was created by ada');
  expect(words(event('automation', night, { name: 'night watch' }))).toBe('automation night watch was changed by ada');
  expect(words(event('automation', night, null))).toBe('automation night was deleted by ada');
  expect(words(event('script-packages', night, night))).toBe('');
  expect(words(event('satellite-observer', night, night))).toBe('');
  expect(words(event('health', null, { totalChecks: 2, healthyChecks: 1 }))).toContain('1 of 2 checks healthy');
});
