import { expect, test } from 'vitest';
import { offersOf, SCRIPT_TYPES } from './script-types';

const offered = (line: string) => offersOf(line, SCRIPT_TYPES, ['lodash-es', 'zod'])?.options.map((o) => o.label);

test('members, names and packages are offered where they fit', () => {
  expect(offered('const name = context.system.')).toEqual(['id', 'name', 'metadata']);
  expect(offered('if (context.che')).toEqual(['check', 'system', 'environment', 'config']);
  expect(offered('ret')).toContain('fetch');
  expect(offered("import { z } from 'z")).toEqual(['lodash-es', 'zod']);
  expect(offered('other.thing.')).toBe(undefined);
  expect(offersOf('context.system.na', SCRIPT_TYPES, [])).toMatchObject({ typed: 'na', member: true });
});
