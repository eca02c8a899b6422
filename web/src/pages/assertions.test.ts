import { expect, test } from 'vitest';
import { choicesOf, textOf, typedOf } from './assertions';

test('what is typed is a number, a truth value or a list where it can be read as one, and comes back as it was', () => {
  expect(['200', 'true', '"200"', 'open', '[1,2]', ''].map(typedOf)).toEqual([
    200,
    true,
    '200',
    'open',
    [1, 2],
    undefined,
  ]);
  for (const value of [200, '200', true, 'true', 'open', ['a'], '"x"']) expect(typedOf(textOf(value))).toEqual(value);
});

test('assertions are offered for what a run found', () => {
  const choices = choicesOf({
    _collectorId: 'healthcheck-http.request',
    statusCode: 200,
    responseTimeMs: 41.2,
    success: true,
    body: '{"queue": {"waiting": 3, "odd key": null}, "names": ["a"]}',
    text: '[not json',
    traceId: '8458fa6003a5e7a9eaacd14f72170554',
  });
  expect(choices.map((c) => c.suggestion)).toEqual([
    { field: 'statusCode', operator: 'equals', value: 200 },
    { field: 'responseTimeMs', operator: 'lessThan', value: 200 },
    { field: 'success', operator: 'isTrue' },
    { field: 'body', jsonPath: '$.queue.waiting', operator: 'equals', value: 3 },
    { field: 'body', jsonPath: '$.names[0]', operator: 'equals', value: 'a' },
    { field: 'text', operator: 'equals', value: '[not json' },
  ]);
});
