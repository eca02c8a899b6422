import { expect, test } from 'vitest';
import { placed } from './wrong';

test('an error belongs to the field of its place, or to one that stands for what is below it', () => {
  const fields = new Set(['spec.interval', 'labels*', 'spec.collectors[0].assertions[0]*']);
  expect(placed('spec.interval', fields)).toBe(true);
  expect(placed('labels.team', fields)).toBe(true);
  expect(placed('labels', fields)).toBe(true);
  expect(placed('spec.collectors[0].assertions[0].value', fields)).toBe(true);
  expect(placed('spec.collectors[0].assertions[01]', fields)).toBe(false);
  expect(placed('labelsOf', fields)).toBe(false);
  expect(placed('spec', fields)).toBe(false);
});
