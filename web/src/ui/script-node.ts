/** What Node has: its types, and those of the language without what the built-in runtime lacks. By name of the file. */
const files = import.meta.glob<string>(
  [
    '../../node_modules/@types/node/**/*.d.ts',
    '!../../node_modules/@types/node/ts5.*/**',
    '../../node_modules/undici-types/*.d.ts',
    '../../node_modules/typescript/lib/lib.es*.intl.d.ts',
    '../../node_modules/typescript/lib/lib.es2024.sharedmemory.d.ts',
    '../../node_modules/typescript/lib/lib.esnext.{disposable,decorators}.d.ts',
    '../../node_modules/typescript/lib/lib.es5.d.ts',
  ],
  { query: '?raw', import: 'default', eager: true },
);

export const NODE = Object.fromEntries(
  Object.entries(files).map(([path, text]) => [
    path.replace(/^.*\/typescript\/lib/, '').replace(/^.*(?=\/node_modules)/, ''),
    text,
  ]),
);

/** Of Bun only the names are known. */
export const BUN = `declare var Bun: any;
declare var HTMLRewriter: any;
declare module 'bun';
declare module 'bun:*';
`;
