import { expect, test } from 'vitest';
import { absolute, bytes, duration, mark, percent, plural, span, tick } from './span';

test.each([
  [-5, '0 s'],
  [400, '< 1 s'],
  [8000, '8 s'],
  [75_000, '1 min 15 s'],
  [3_600_000, '1 h'],
  [12 * 3_600_000 + 60_000, '12 h'],
  [100 * 3_600_000, '4 d 4 h'],
])('%d ms is %s', (ms, want) => expect(span(ms)).toBe(want));

test('latencies, shares and numbers are written as people read them', () => {
  expect([0, 0.03, 0.42, 12.3, 1501, 45_000, null].map(duration)).toEqual([
    '< 1 ms',
    '< 0.1 ms',
    '0.4 ms',
    '12 ms',
    '1.5 s',
    '45 s',
    '',
  ]);
  expect(absolute('2026-03-01T03:00:00Z')).toMatch(/2026.*(UTC|GMT|[A-Z]{3,4})/);
  expect([640, 12_300, 3_100_000].map(bytes)).toEqual(['640 B', '12 kB', '3.1 MB']);
  expect([1, 0.99999, 0.5, null].map(percent)).toEqual(['100 %', '99.9 %', '50 %', '']);
  expect([plural(1, 'run'), plural(1200, 'run')]).toEqual(['1 run', '1,200 runs']);
});

test('moments on an axis of a day or more have their date', () => {
  const at = new Date(2026, 2, 1, 6, 57, 5).getTime();
  expect([mark(at, 8 * 3_600_000), mark(at, 8 * 3_600_000, false)]).toEqual(['06:57:05', '06:57']);
  for (const days of [1, 30]) expect(mark(at, days * 86_400_000)).toMatch(/Mar|3\/1|1\/3|01|03/);
});

test('ticks of an axis of time are as fine as they are close', () => {
  const at = new Date(2026, 2, 1, 6, 57, 5).getTime() / 1000;
  expect([5, 60, 3600].map((step) => tick(at, step))).toEqual(['06:57:05', '06:57', '06:57']);
  expect(tick(at, 86_400)).not.toContain(':');
});
