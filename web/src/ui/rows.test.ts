import { expect, test } from 'vitest';
import { filtered, kindsOf, matches, sorted, visible } from './rows';

test('rows are sorted as people count, and nothing comes last', () => {
  const rows = ['eu-10', '', 'eu-2', 'eu-1'];
  expect(sorted(rows, (r) => r, false)).toEqual(['eu-1', 'eu-2', 'eu-10', '']);
  expect(sorted(rows, (r) => r, true)).toEqual(['eu-10', 'eu-2', 'eu-1', '']);
  expect(sorted([3, null, 20, 1], (r) => r, true)).toEqual([20, 3, 1, null]);
});

test('only rows in sight are drawn', () => {
  expect(visible(10_000, 0, 600, 37, 10)).toEqual([0, 27]);
  expect(visible(10_000, 37_000, 600, 37, 10)).toEqual([990, 1027]);
  expect(visible(5, 99_999, 600, 37, 10)).toEqual([5, 5]);
  expect(visible(0, 0, 600, 37)).toEqual([0, 0]);
});

test('each word of a search is found somewhere', () => {
  expect(matches('fra-1 eu tier=edge', 'EDGE fra')).toBe(true);
  expect(matches('fra-1 eu tier=edge', 'fra us')).toBe(false);
  expect(matches('fra-1 rack=r73', 'rack=r7')).toBe(false);
  expect(matches('fra-1 rack=r7', 'rack=r7 fra ')).toBe(true);
});

test('rows are filtered by words of any column and by the kind of one', () => {
  type Row = { name: string; status: string; since: number };
  const columns = [
    { key: 'name', value: (r: Row) => r.name },
    { key: 'status', value: (r: Row) => r.status.length, text: (r: Row) => r.status, kinds: (r: Row) => [r.status] },
    { key: 'since', value: (r: Row) => r.since },
  ];
  const shop = { name: 'shop', status: 'healthy', since: 17 };
  const till = { name: 'till', status: 'unhealthy', since: 2 };
  const rows = [shop, till];
  expect(filtered(columns, rows, ' ', {})).toBe(rows);
  expect(filtered(columns, rows, 'UNHEALTHY till', {})).toEqual([till]);
  expect(filtered(columns, rows, '17', {})).toEqual([]);
  expect(filtered(columns, rows, '', { status: 'healthy' })).toEqual([shop]);
  expect(filtered(columns, rows, 'till', { status: 'healthy' })).toEqual([]);
  expect(kindsOf(columns[1]?.kinds ?? (() => []), rows, 'degraded')).toEqual(['degraded', 'healthy', 'unhealthy']);
});
