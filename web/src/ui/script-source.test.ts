import { expect, test } from 'vitest';
import { typed } from './script-source';

test('a script that returns is a function below its imports, and each place has one place', () => {
  const source = "const a = 1\nimport { z } from\n  'zod'; return z(a)";
  const { text, into, back } = typed(source);
  expect(text).toBe(
    "import { z } from\n  'zod'; export default async function (): Promise<PerigeeReturn> { const a = 1\n                 \n       ; return z(a)\n}",
  );
  for (let place = 0; place < source.length; place++) expect(back(into(place))).toBe(place);
  for (const word of ['const', "'zod'", 'return']) expect(into(source.indexOf(word))).toBe(text.indexOf(word));
  expect(back(text.indexOf('export'))).toBe(undefined);
});

test('a script that returns in functions only is a module as it stands', () => {
  const source = 'export default () => { return 1 }\nclass A { static { } b() { return 2 } }';
  expect(typed(source).text).toBe(source);
});
