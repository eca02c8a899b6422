import { expect, test } from 'vitest';
import { importedIn } from './script-imports';

test('a package is named in imports, and nowhere else', () => {
  expect(importedIn("import { z } from 'z")).toBe('z');
  expect(importedIn('import "')).toBe('');
  expect(importedIn("const z = await import('@a/")).toBe('@a/');
  expect(importedIn("import { z } from 'zod'")).toBe(undefined);
  expect(importedIn("const from = 'z")).toBe(undefined);
});
