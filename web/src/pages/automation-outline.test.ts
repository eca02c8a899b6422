import { expect, test } from 'vitest';
import { outlineOf } from './automation-outline';

test('a definition is told in words, also one that is not finished', () => {
  const said = (d: unknown) =>
    outlineOf(d).map(function flat(s): unknown {
      return s.below.length ? [s.text, s.below.map(flat)] : s.text;
    });
  expect(
    said({
      triggers: [{ event: 'satellite.heartbeat_lost', filter: 'trigger.payload.region == "eu"', for: { minutes: 5 } }],
      conditions: [{ not: { time: { after: '22:00' } } }],
      actions: [
        { choose: [{ when: 'true', sequence: [{ action: 'log', config: { message: 'hi' } }] }], else: [{ stop: {} }] },
        { delay: { seconds: 3 }, enabled: false },
      ],
      mode: 'queued',
    }),
  ).toEqual([
    ['When', ['satellite.heartbeat_lost if trigger.payload.region == "eu" and it stays so for 5 minutes']],
    ['Provided that', [['not', ['the time is after: 22:00']]]],
    [
      'Then',
      [
        [
          'choose',
          [
            ['if true', ['log: message: hi']],
            ['else', ['stop']],
          ],
        ],
        'wait 3 seconds (not enabled)',
      ],
    ],
    'While one runs, others are queued behind it',
  ]);
  expect(said(null)).toEqual(['When', 'Then']);
  expect(said({ triggers: [null], actions: 'x' })).toEqual([['When', ['an event that is not named']], 'Then']);
});
