import { expect, test } from 'vitest';
import { placed, wordsAt } from './wrong';

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

test('what is wrong with a field is said in one line, and nothing is said of another', () => {
  const errors = [
    { location: 'satellites.names[0]', message: 'there is no such satellite' },
    { location: 'satellites.names[2]', message: 'is named twice' },
    { location: 'satellites.selector', message: 'expected a value' },
  ];
  expect(wordsAt(errors, 'satellites.names*')).toBe('there is no such satellite; is named twice');
  expect(wordsAt(errors, 'satellites.selector')).toBe('expected a value');
  expect(wordsAt(errors, 'satellites')).toBeUndefined();
});
