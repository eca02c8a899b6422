import { expect, test } from 'vitest';
import { type Bar, placeOf, saidOf } from './bars';

const bar = (from: number, to: number, tone: Bar['tone']): Bar => ({ from, to, tone, title: `is ${tone}` });
// One that lasted no time, and one that lies on another.
const BARS = [bar(0, 10, 'good'), bar(10, 10, 'bad'), bar(10, 30, 'good'), bar(15, 20, 'blind')];

test('a bar is chosen by a moment that it covers, the one on top of others, or by itself', () => {
  expect([5, 12, 17, 25, 30].map((at) => placeOf({ at }, BARS))).toEqual([0, 2, 3, 2, -1]);
  expect(BARS.map(({ from, tone }) => placeOf({ at: from, tone }, BARS))).toEqual([0, 1, 2, 3]);
});

test('a bar says when it was, as finely as it is short', () => {
  const minute = 60_000;
  expect(saidOf(bar(0, minute, 'bad'), 60 * minute)).toMatch(/:00:00 to .*:01:00: is bad$/);
  expect(saidOf(bar(0, 5 * minute, 'bad'), 60 * minute)).toMatch(/:00 to .*:05: is bad$/);
});
