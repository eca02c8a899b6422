import { readFileSync } from 'node:fs';
import ts from 'typescript';
import { expect, test } from 'vitest';
import cases from '../../../internal/script/testdata/accepted.json';
import hosted from '../../../internal/script/testdata/hosted.json';
import { BUN, NODE } from './script-node';
import { type PackageTypes, Project } from './script-project';

const plainly = new Project(); // reading the library takes a while

/** A project with a script and packages of the fleet. */
function of(source: string, packages?: Record<string, Partial<PackageTypes>>): Project {
  const project = packages ? new Project() : plainly;
  project.write(source);
  for (const [name, known] of Object.entries(packages ?? {}))
    project.learn(name, { lockfileHash: '', name, version: '1.0.0', from: name, files: [], leftOut: [], ...known });
  for (const name of project.unknown()) project.learn(name, 'missing');
  return project;
}
const wrong = (source: string, packages?: Record<string, Partial<PackageTypes>>) =>
  of(source, packages)
    .mistakes()
    .map((m) => `${m.severity} ${m.message}`);
const file = (path: string, text: string) => ({ path: `node_modules/${path}`, text });
const shape = {
  files: [
    file(
      'shape/package.json',
      '{"name":"shape","exports":{".":{"types":"./lib/index.d.mts"},"./round":"./lib/round.js"}}',
    ),
    file(
      'shape/lib/index.d.mts',
      "export { at } from './at.mjs'\n/** How large it is. */\nexport function area(of: number, unit?: string): number\nexport type { Deep } from 'deep'",
    ),
    file('shape/lib/at.d.mts', 'export const at: { x: number; y: number }'),
    file('shape/lib/round.d.ts', 'export const radius: number'),
    file('shape/node_modules/deep/index.d.ts', 'export interface Deep { depth: number }'),
  ],
};

test('a script of the documentation is right', () => {
  const page = readFileSync('../docs/scripts.md', 'utf8');
  const source = /```ts\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
  expect(source).toContain('return { success:');
  expect(wrong(source)).toEqual([]);
});

test.each(cases)('$source is taken as the runtime takes it', ({ source, accepted }) => {
  expect(wrong(source).filter((m) => m.startsWith('error')).length === 0, wrong(source).join()).toBe(accepted);
});

const hosts = {
  node: new Project({ name: 'node', files: NODE, beside: '' }),
  bun: new Project({ name: 'bun', files: NODE, beside: BUN }),
};

// The runtimes are held against this list: TestAcceptedInOtherRuntimes.
test.each(hosted)('$runtime takes $source as it does', ({ runtime, source, accepted }) => {
  const project = hosts[runtime as 'node' | 'bun'];
  project.write(source);
  for (const name of project.unknown()) project.learn(name, 'missing');
  const found = project.mistakes().map((m) => `${m.severity} ${m.message}`);
  expect(found.filter((m) => m.startsWith('error')).length === 0, found.join()).toBe(accepted);
});

test('parts of a runtime are completed and told in it', () => {
  const source = "import { createHash } from 'node:crypto'\nreturn createHash('sha256').";
  hosts.node.write(source);
  expect(hosts.node.offers(source.length).map((o) => o.label)).toContain('digest');
});

test('what nothing is left of at run time is missed by nobody', () => {
  const unused = 'Nothing of it is left when the script runs, which it does.';
  expect(
    wrong("import type { A } from 'yup'\nimport type { S } from 'node:fs'\nexport default (a?: A | S) => 1"),
  ).toEqual([
    expect.stringMatching(`^warning 1:24 yup is not among .*\\. ${unused}$`),
    expect.stringMatching(`^warning 2:24 node:fs is a part of Node, .*\\. ${unused}$`),
  ]);
  expect(wrong("import 'yup'")).toEqual([expect.stringMatching(/^error 1:8 yup is not among /)]);
});

test.each([
  ['export default { sucess: true }', '1:18 sucess'],
  ["export default { 'sucess': true, message: 'a' }", "1:18 'sucess'"],
  ['export default (() => ({ vlaue: 1 }))', '1:26 vlaue'],
  ['export default async function () { if (1) { return { vlaue: 1 } } return { value: 1 } }', '1:54 vlaue'],
  ['export default { run() { return { vlaue: 1 } } }', '1:35 vlaue'],
  ['export default { id: 1, run: () => (1 ? { vlaue: 1 } : null) }', '1:43 vlaue'],
])('%s says what is not read', (source, at) => {
  expect(wrong(source)).toEqual([`warning ${at} is not read: a result has success, message and value.`]);
});

test.each([
  'export default { success: true, message: null, value: 1 }',
  'export default { id: 1, run: () => true }',
  'export default { at: 1, toJSON: () => 1 }',
  'export default () => { const each = () => { return { at: 1 } }; return each().at }',
])('%s has nothing that is not read', (source) => {
  expect(wrong(source)).toEqual([]);
});

test('a mistake is told with line and column', () => {
  expect(wrong('const a = 1\n  a.toUpper()')).toEqual(["error 2:5 Property 'toUpper' does not exist on type '1'."]);
  expect(wrong('const t = document.title')).toEqual([expect.stringMatching(/^error 1:11 Cannot find name 'document'/)]);
  expect(wrong('const a = ;')).toEqual(['error 1:11 Expression expected.']);
  expect(wrong('const n: number = 1\nreturn n.length')).toEqual([
    "error 2:10 Property 'length' does not exist on type 'number'.",
  ]);
  expect(wrong('return { sucess: false }')).toEqual([
    'warning 1:10 sucess is not read: a result has success, message and value.',
  ]);
  expect(wrong('export default () => [1]')).toEqual([
    'error 1:1 A list is no result: return nothing, true or false, a number, a text, or { success, message, value }.',
  ]);
});

test('a package has its types: members, arguments, parts of it, and what it takes from others', () => {
  const right =
    "import { at, area, type Deep } from 'shape'\nimport { radius } from 'shape/round'\nconst d: Deep = { depth: at.x }\nreturn area(radius) + d.depth";
  expect(wrong(right, { shape })).toEqual([]);
  expect(wrong("import { at, area } from 'shape'\nreturn area('large') + at.z", { shape })).toEqual([
    "error 2:13 Argument of type 'string' is not assignable to parameter of type 'number'.",
    "error 2:27 Property 'z' does not exist on type '{ x: number; y: number; }'.",
  ]);
  expect(wrong("import { volume } from 'shape'\nreturn volume", { shape })).toEqual([
    `error 1:10 Module '"shape"' has no exported member 'volume'.`,
  ]);
  const source = "import * as s from 'shape'\nreturn s.area";
  const project = of(source, { shape });
  expect(project.offers(source.lastIndexOf('area')).map((o) => o.label)).toEqual(['area', 'at']);
  expect(project.told(source.lastIndexOf('area'))).toEqual({
    from: source.lastIndexOf('area'),
    to: source.length,
    text: 'function area(of: number, unit?: string): number',
    documentation: 'How large it is.',
  });
});

test('types of @types are a package’s, and none are said to be none', () => {
  const plain = {
    from: '@types/plain',
    files: [
      file('plain/package.json', '{"name":"plain","main":"i.js"}'),
      file('@types/plain/index.d.ts', 'export const p: 1'),
    ],
  };
  expect(wrong("import { p } from 'plain'\nreturn p.x", { plain })).toEqual([
    "error 2:10 Property 'x' does not exist on type '1'.",
  ]);
  expect(wrong("import { p } from 'plain'\nreturn p.x", { plain: { from: '', files: [] } })).toEqual([
    'info 1:19 plain@1.0.0 has no types: what it exports is any, and is not checked.',
  ]);
  expect(wrong("import s from 'shape/square.js'\nreturn s.x", { shape })).toEqual([
    'info 1:15 shape@1.0.0 declares no types for shape/square.js: it is any, and is not checked.',
  ]);
  expect(
    wrong("import { at } from 'shape'\nreturn at.x", {
      shape: { ...shape, leftOut: [{ name: 'deep@1.0.0', reason: 'too much' }] },
    }),
  ).toEqual(['info 1:20 What shape takes from these is not known here, and any: deep@1.0.0 (too much)']);
});

test('what cannot be imported is a mistake, and leads to the packages where that helps', () => {
  const project = of(
    "import y from 'yup'\nimport 'zod/v4'\nimport fs from 'node:fs'\nimport b from './b'\nreturn y(fs, b)",
  );
  project.list(['zod']);
  expect(project.mistakes().map((m) => [m.message, !!m.packages])).toEqual([
    [
      '1:15 yup is not among the fleet’s packages. Add it on the page Packages, or with: perigee package add yup@VERSION',
      true,
    ],
    [
      '2:8 zod is on the list of packages and not installed. Install it on the page Packages, or with: perigee package install',
      true,
    ],
    [
      '3:16 node:fs is a part of Node, and this script runs without it. Set the runtime to node where Node is installed.',
      false,
    ],
    ['4:15 ./b: a script is one file; it imports packages and nothing else.', false],
  ]);
});

test('the call that is being written tells its parameters', () => {
  const source = 'fetch("http://a", )\nreturn 1';
  expect(of(source).signature(source.indexOf(')'))).toEqual({
    at: 6,
    before: 'fetch(',
    parameters: ['input: string | URL | Request', 'init?: RequestInit'],
    separator: ', ',
    after: '): Promise<Response>',
    active: 1,
    documentation: 'By the policy for scripts; 200 requests in a run, bodies to 2 MiB.',
    others: 0,
  });
  expect(of(source).signature(source.length)).toBe(null);
});

test('what follows is offered with its members, and no Intl', () => {
  expect(
    of('context.system.')
      .offers(15)
      .map((o) => o.label),
  ).toEqual(['id', 'metadata', 'name']);
  const globals = of('return a')
    .offers(8)
    .map((o) => o.label);
  expect(globals).toContain('fetch');
  expect(globals).not.toContain('Intl');
  expect(globals).not.toContain('document');
});

/** The members of a type by name; what only symbols name is left out, and what need not be there has a question mark. */
const membersOf = (type: ts.Type) =>
  type
    .getProperties()
    .filter(({ name }) => name !== 'prototype' && !name.startsWith('__@'))
    .map((p) => `${p.name}${p.flags & ts.SymbolFlags.Optional ? '?' : ''}`)
    .sort();

// The runtime is held against this list: TestTypesAreThoseOfTheRuntime.
test('what is declared is what the runtime is held against', async () => {
  const program = of('return 1').service.getProgram();
  const checker = program?.getTypeChecker();
  const at = program?.getSourceFile('/perigee.d.ts');
  if (!checker || !at) throw new Error('there is no program');
  const declared = new Map<string, { own: string[]; made: string[] }>();
  const declare = (name: string, type: ts.Type) => {
    const prototype = type.getProperty('prototype');
    const made =
      type.getConstructSignatures()[0]?.getReturnType() ??
      (prototype && checker.getTypeOfSymbolAtLocation(prototype, at));
    declared.set(name, { own: membersOf(type), made: made ? membersOf(made) : [] });
    for (const member of type.getProperties())
      if (member.name === 'subtle') declare(`${name}.subtle`, checker.getTypeOfSymbolAtLocation(member, at));
  };
  for (const symbol of checker.getSymbolsInScope(at, ts.SymbolFlags.Value))
    if (!['global', 'globalThis', 'self'].includes(symbol.name))
      declare(symbol.name, checker.getTypeOfSymbolAtLocation(symbol, at));
  const lines = [...declared].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, of]) => JSON.stringify({ name, ...of }));
  await expect(`[\n${lines.join(',\n')}\n]\n`).toMatchFileSnapshot('../../../internal/script/testdata/declared.json');
});
