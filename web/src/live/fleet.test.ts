import { expect, test } from 'vitest';
import type { Schemas } from '../api/client';
import { patched } from './fleet';

type Satellite = Schemas['Satellite'];
const satellite = (id: string, name: string, status = 'online') => ({ id, name, status }) as Satellite;

test('what was read is put in its place, added by name, or taken out', () => {
  const all = [satellite('1', 'a'), satellite('2', 'c'), satellite('3', 'd')];
  const read = new Map<string, Satellite | null>([
    ['2', satellite('2', 'c', 'offline')],
    ['3', null],
    ['4', satellite('4', 'b')],
    ['5', null],
  ]);
  expect(patched(all, read)).toEqual([satellite('1', 'a'), satellite('4', 'b'), satellite('2', 'c', 'offline')]);
});
