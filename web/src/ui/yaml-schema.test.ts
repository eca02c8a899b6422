import { expect, test } from 'vitest';
import { placeOf } from './yaml-place';
import { type JSONSchema, offersAt } from './yaml-schema';

// As the core writes it, in small.
const SCHEMA: JSONSchema = {
  $ref: '#/$defs/Definition',
  $defs: {
    Definition: {
      properties: {
        mode: { type: 'string', enum: ['single', 'queued'] },
        triggers: {
          type: 'array',
          items: { properties: { event: { oneOf: [{ const: 'satellite.lost', description: 'It is gone.' }] } } },
        },
        actions: { type: 'array', items: { $ref: '#/$defs/Action' } },
      },
    },
    Action: {
      description: 'One step.',
      properties: {
        action: { oneOf: [{ const: 'log' }, { const: 'notify' }] },
        config: true,
        enabled: { type: 'boolean' },
        sequence: { type: 'array', items: { $ref: '#/$defs/Action' } },
      },
      allOf: ['log', 'notify'].map((name) => ({
        if: { properties: { action: { const: name } } },
        // biome-ignore lint/suspicious/noThenProperty: JSON Schema calls it so
        then: { properties: { config: { properties: { [`${name}Text`]: { type: 'string', description: name } } } } },
      })),
    },
  },
};

const at = (text: string) => {
  const place = placeOf(text.replace('|', ''), text.indexOf('|'));
  return place ? offersAt(SCHEMA, place).map((offer) => offer.label) : null;
};

test('keys and values are offered by the schema, without keys that are there', () => {
  expect(at('|')).toEqual(['mode', 'triggers', 'actions']);
  expect(at('mode: single\n|')).toEqual(['triggers', 'actions']);
  expect(at('mode: |')).toEqual(['single', 'queued']);
  expect(at('triggers:\n  - event: |')).toEqual(['satellite.lost']);
  expect(at('actions:\n  - enabled: t|')).toEqual(['true', 'false']);
});

test('the config is that of the action beside it, however deep', () => {
  const text = 'actions:\n  - sequence:\n      - action: notify\n        config:\n          |';
  expect(at(text)).toEqual(['notifyText']);
  expect(at(text.replace('notify', 'log'))).toEqual(['logText']);
  expect(at('nowhere:\n  - x: |')).toEqual([]);
});
