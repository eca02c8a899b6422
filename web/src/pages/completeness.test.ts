import { expect, test } from 'vitest';
import { missingOf } from './completeness';

test('runs that may still come, or that nobody expects, are not missing', () => {
  const due = { due: 100, awaited: 5, skipped: { paused: 10, overlap: 2 }, reported: 80, backfilled: 3 };
  expect(missingOf(due)).toEqual({ expected: 85, missing: 2 });
  expect(missingOf({ due: 5, awaited: 5, skipped: {}, reported: 0, backfilled: 0 })).toEqual({
    expected: 0,
    missing: 0,
  });
});
