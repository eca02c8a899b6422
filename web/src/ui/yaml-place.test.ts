import { expect, test } from 'vitest';
import { placeOf } from './yaml-place';

/** The place of the caret, which stands where the | is. */
const at = (text: string) => {
  const place = placeOf(text.replace('|', ''), text.indexOf('|'));
  return place && { ...place, path: place.path.map((step) => step.key) };
};

test('the place is known by indentation, in lists that are indented and in those that are not', () => {
  expect(at('tri|')).toEqual({ path: [], prefix: 'tri', siblings: {} });
  expect(at('mode: si|\n')).toEqual({ path: [], key: 'mode', prefix: 'si', siblings: {} });
  const trigger = { path: ['triggers', '[]'], key: 'event', prefix: 'sat', siblings: {} };
  expect(at('triggers:\n- event: sat|')).toEqual(trigger);
  expect(at('description: x\n\ntriggers:\n  - event: sat|')).toEqual(trigger);
  expect(at('triggers:\n  - id: a\n    event: sat|\n    filter: x\n  - id: b')).toEqual({
    ...trigger,
    siblings: { id: 'a', filter: 'x' },
  });
});

test('what an action’s config may hold depends on the action beside it', () => {
  const text = `triggers:
  - event: satellite.disconnected
actions:
  - choose:
      - when: "true"
        sequence:
          - id: tell
            action: notify
            config:
              title: hello
              se|
`;
  expect(at(text)).toEqual({
    path: ['actions', '[]', 'choose', '[]', 'sequence', '[]', 'config'],
    prefix: 'se',
    siblings: { title: 'hello' },
  });
  expect(at('actions:\n  - action: log\n    |')).toEqual({
    path: ['actions', '[]'],
    prefix: '',
    siblings: { action: 'log' },
  });
  const whole = text.replace('|', '');
  expect(placeOf(whole, text.indexOf('|'))?.path.at(-1)?.beside).toEqual({ id: 'tell', action: 'notify' });
  expect(at('filter: a == b| c')?.key).toBe('filter');
  expect(at('config: {se|')).toBe(null);
});
