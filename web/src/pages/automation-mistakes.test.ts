import { expect, test } from 'vitest';
import { mistakesOf, read } from './automation-mistakes';

const TEXT = `triggers:
  - event: nothing.happens
actions:
  - action: log
    config: {message: hi}
`;

test('what the core finds wrong is marked where it is written', () => {
  const problem = {
    errors: [
      { location: 'definition.triggers[0].event', message: 'is no event' },
      { location: 'definition.actions[0].config.level', message: 'is missing' },
      { location: 'name', message: 'is taken' },
    ],
  };
  expect(mistakesOf(TEXT, problem)).toEqual([
    { line: 2, column: 12, message: 'is no event' },
    { line: 5, column: 13, message: 'is missing' },
    { line: 1, message: 'name: is taken' },
  ]);
});

test('a text that is no YAML has no definition, and says where', () => {
  expect(read(TEXT).definition).toMatchObject({ actions: [{ action: 'log' }] });
  const { definition, mistakes } = read('triggers: [\nactions: x: y');
  expect(definition).toBe(undefined);
  expect(mistakes[0]?.line).toBeGreaterThan(0);
});
