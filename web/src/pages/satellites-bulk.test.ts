import { expect, test } from 'vitest';
import { changeOf } from './satellites-bulk';

test('labels are set and taken away, and what is neither is refused', () => {
  expect(changeOf('tier=edge, -rack site=a=b')).toEqual({ add: { tier: 'edge', site: 'a=b' }, drop: ['rack'] });
  expect(() => changeOf('tier')).toThrow('is no label');
});
