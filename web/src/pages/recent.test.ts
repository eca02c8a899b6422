import { expect, test } from 'vitest';
import { groupsOf } from './recent';

test('results are told the newest first, like ones together', () => {
  expect(groupsOf('hhhduu')).toEqual(['2 × unhealthy', 'degraded', '3 × healthy']);
  expect(groupsOf('')).toEqual([]);
});
