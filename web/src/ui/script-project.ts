import ts from 'typescript';
import runtime from '../../../internal/script/perigee.d.ts?raw';
import type { Schemas } from '../api/client';
import { type Typed, typed } from './script-source';

const SCRIPT = '/check.ts';
const RESULT = '/result.ts';
const RUNTIME = '/perigee.d.ts';
const INTL = '/intl.d.ts';
const BESIDE = '/beside.d.ts';
const NODE_TYPES = '/node_modules/@types/node/';

/** What scripts run in, as a check's configuration names it. */
export type Runtime = 'builtin' | 'node' | 'bun';

/** What there is in a runtime of the machine: files by their path, and what is declared beside them. */
export interface Host {
  name: Exclude<Runtime, 'builtin'>;
  files: Record<string, string>;
  beside: string;
}

const LIBS = import.meta.glob<string>(
  [
    '../../node_modules/typescript/lib/lib.es{5,2015,2016,2017,2018,2019,2020,2021,2022,2023,2024}*.d.ts',
    '../../node_modules/typescript/lib/lib.esnext.{collection,error,float16,iterator,promise}.d.ts',
    '../../node_modules/typescript/lib/lib.decorators*.d.ts',
    '!**/*.full.d.ts',
    '!**/*.intl.d.ts',
    '!**/lib.es2024.sharedmemory.d.ts', // the engine has no Atomics.waitAsync
  ],
  { query: '?raw', import: 'default', eager: true },
);

/** What the engine has of the time after ECMAScript 2024. */
const NEWER = ['collection', 'error', 'float16', 'iterator', 'promise'].map((part) => `lib.esnext.${part}.d.ts`);

/** A library without Intl and what was deprecated of regular expressions, which the engine has not. */
function without(library: string): string {
  const [language = ''] = library.split('/// ECMAScript Internationalization API');
  return language.replace(/^\s+"(\$.|input|lastMatch|lastParen|leftContext|rightContext)": string;$/gm, '');
}

/** What every runtime has: the context of a run, and what may be returned. */
const [EVERYWHERE = ''] = runtime.split('// What follows is of the built-in runtime');

/** The runtime has no Intl: what is of it in the library are names of types. */
const NO_INTL = `declare namespace Intl {
  type LocalesArgument = string | readonly string[];
  interface CollatorOptions { [option: string]: unknown }
  interface NumberFormatOptions { [option: string]: unknown }
  interface DateTimeFormatOptions { [option: string]: unknown }
}`;

const OPTIONS: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2022,
  lib: ['lib.es2024.d.ts', ...NEWER],
  types: [],
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  customConditions: ['module'], // as the runtime's bundler
  moduleDetection: ts.ModuleDetectionKind.Force, // a script may await without exporting
  strict: true,
  noImplicitAny: false, // JavaScript is welcome
  noEmit: true,
};

const RETURNED = `import script from './check';
declare const returned: PerigeeReturned<typeof script>;
export const result: PerigeeReturn = returned;
`;

const NO_MODULE = 2307; // told by packages, better
const RESULTS = 'nothing, true or false, a number, a text, or { success, message, value }';
const NOT_READ = [2353, 2561]; // of a result
const READ = ['success', 'message', 'value'];
const CALLED = ['run', 'execute', 'handler']; // of an object that is exported

export type PackageTypes = Schemas['Types'];

/** What is known of a package: its types, that it is not installed, or why that is not known. */
export type Known = PackageTypes | 'missing' | { unread: string };

export interface Mistake {
  from: number;
  to: number;
  severity: 'error' | 'warning' | 'info';
  message: string;
  /** Whether it is mended on the page of packages. */
  packages?: boolean;
}

export interface Offer {
  label: string;
  kind: string;
  boost: number;
}

export interface Told {
  from: number;
  to: number;
  text: string;
  documentation: string;
}

export interface Signature {
  /** Where the arguments begin. */
  at: number;
  before: string;
  parameters: string[];
  separator: string;
  after: string;
  active: number;
  /** What is said of the parameter that is being written, or of the function. */
  documentation: string;
  others: number;
}

/** The package that an import names: zod of zod/v4, @a/b of @a/b/c.js. */
const packageOf = (name: string) => /^(@[^/]+\/)?[^/]+/.exec(name)?.[0] ?? name;

const words = (parts?: ts.SymbolDisplayPart[]) => ts.displayPartsToString(parts);

/** One script among what it finds at run time, as the TypeScript language service sees it. */
export class Project {
  #files = new Map<string, string>();
  #folders = new Set<string>();
  #version = 0;
  #versions = new Map<string, number>();
  #source = '';
  #typed: Typed = typed('');
  #listed: string[] = [];
  #known = new Map<string, Known>();
  #host?: Host;
  #parts: string[] = [];
  readonly service: ts.LanguageService;

  /** Of a script in the built-in runtime, or in one of the machine. */
  constructor(host?: Host) {
    this.#host = host;
    for (const [path, text] of Object.entries(LIBS)) {
      const name = path.slice(path.lastIndexOf('/'));
      this.#put(name, name === '/lib.es5.d.ts' ? without(text) : text);
    }
    for (const [path, text] of Object.entries(host?.files ?? {})) this.#put(path, text);
    this.#put(RUNTIME, host ? EVERYWHERE : runtime);
    this.#put(INTL, NO_INTL);
    this.#put(BESIDE, host?.beside ?? '');
    this.#put(SCRIPT, '\n');
    this.#put(RESULT, '\n');
    const files = this.#files;
    const around = host ? [`${NODE_TYPES}index.d.ts`, BESIDE] : [INTL];
    const conditions = host ? [...(OPTIONS.customConditions ?? []), 'node', host.name] : OPTIONS.customConditions;
    const intl = Object.keys(host?.files ?? {}).filter((path) => path.startsWith('/lib.'));
    const options = {
      ...OPTIONS,
      customConditions: conditions,
      lib: [...(OPTIONS.lib ?? []), ...intl.map((p) => p.slice(1))],
    };
    this.service = ts.createLanguageService({
      getCompilationSettings: () => options,
      getScriptFileNames: () => [RUNTIME, ...around, SCRIPT, RESULT],
      getProjectVersion: () => String(this.#version),
      getScriptVersion: (path) => String(this.#versions.get(path) ?? 0),
      getScriptSnapshot: (path) => {
        const text = files.get(path);
        return text === undefined ? undefined : ts.ScriptSnapshot.fromString(text);
      },
      getCurrentDirectory: () => '/',
      getDefaultLibFileName: () => '/lib.es2024.d.ts',
      fileExists: (path) => files.has(path),
      readFile: (path) => files.get(path),
      directoryExists: (path) => path === '/' || this.#folders.has(path.replace(/\/$/, '')),
      getDirectories: (path) => {
        const below = path.replace(/\/?$/, '/');
        return [...this.#folders]
          .filter((f) => f.startsWith(below) && !f.slice(below.length).includes('/'))
          .map((f) => f.slice(below.length));
      },
      useCaseSensitiveFileNames: () => true,
    });
    if (host) {
      const modules = this.service.getProgram()?.getTypeChecker().getAmbientModules() ?? [];
      this.#parts = modules.map((m) => m.name.slice(1, -1));
    }
  }

  #put(path: string, text: string) {
    if (this.#files.get(path) === text) return;
    this.#files.set(path, text);
    this.#versions.set(path, ++this.#version);
    for (let at = path.lastIndexOf('/'); at > 0; at = path.lastIndexOf('/', at - 1))
      this.#folders.add(path.slice(0, at));
  }

  /** What the script is now. */
  write(source: string) {
    if (source === this.#source) return;
    this.#source = source;
    this.#typed = typed(source);
    this.#put(SCRIPT, this.#typed.text);
  }

  /** The packages that are on the fleet's list. */
  list(names: string[]) {
    this.#listed = names;
  }

  /** The packages that the script imports and of which nothing is known yet. */
  unknown(): string[] {
    const names = this.#imports()
      .map((i) => i.name)
      .filter((name) => !this.#whyNot(name) && !this.#isPart(name))
      .map(packageOf);
    return [...new Set(names)].filter((name) => !this.#known.has(name)).slice(0, 50);
  }

  /** What there is to know of a package. */
  learn(name: string, known: Known) {
    this.#known.set(name, known);
    if (known === 'missing' || 'unread' in known) return;
    for (const { path, text } of known.files ?? [])
      if (!this.#host || !`/${path}`.startsWith(NODE_TYPES)) this.#put(`/${path}`, text);
    this.#version++; // what could not be resolved may be now
  }

  #imports() {
    const { text } = this.#typed;
    return ts.preProcessFile(text, true, true).importedFiles.flatMap(({ fileName, pos }) => {
      const from = this.#typed.back(pos);
      return from === undefined ? [] : [{ name: fileName, from, to: from + fileName.length + 2, at: pos }];
    });
  }

  /** What is wrong with the script, each with its line and column. */
  mistakes(): Mistake[] {
    const all = [
      ...this.service.getSyntacticDiagnostics(SCRIPT),
      ...this.service.getSemanticDiagnostics(SCRIPT),
    ].filter((d) => d.category === ts.DiagnosticCategory.Error);
    const unresolved = new Set(all.filter((d) => d.code === NO_MODULE).map((d) => d.start));
    const found = this.#imports().flatMap((i) => this.#ofImport(i, unresolved.has(i.at)));
    for (const d of all) if (d.code !== NO_MODULE) found.push(...this.#placed(d, d.start, d.length));
    found.push(...this.#exported());
    return found.sort((a, b) => a.from - b.from).map((m) => ({ ...m, message: `${this.#place(m.from)} ${m.message}` }));
  }

  #placed(d: ts.Diagnostic, start = 0, length = 0): Mistake[] {
    const from = this.#typed.back(start);
    if (from === undefined) return [];
    const message = ts.flattenDiagnosticMessageText(d.messageText, '\n');
    const result = message.includes('PerigeeResult');
    const to = Math.max(from, this.#typed.back(start + length) ?? from);
    // The runtime reads what it knows of a result and no more: a typing error is no failure there.
    if (result && NOT_READ.includes(d.code)) return [this.#notRead(from, to)];
    if (result && message.includes("'flatMap'"))
      return [{ from, to, severity: 'error', message: `A list is no result: return ${RESULTS}.` }];
    return [{ from, to, severity: 'error', message }];
  }

  #notRead(from: number, to: number): Mistake {
    const name = this.#source.slice(from, to);
    return { from, to, severity: 'warning', message: `${name} is not read: a result has success, message and value.` };
  }

  #place(offset: number): string {
    const before = this.#source.slice(0, offset);
    return `${before.split('\n').length}:${offset - before.lastIndexOf('\n')}`;
  }

  #ofImport({ name, from, to }: { name: string; from: number; to: number }, unresolved: boolean): Mistake[] {
    if (this.#isPart(name)) return [];
    // What nothing is left of at run time is not looked for there.
    const left = this.#left().has(name);
    const severity = left ? 'error' : 'warning';
    const unused = left ? '' : ' Nothing of it is left when the script runs, which it does.';
    const why = this.#whyNot(name);
    if (why) return [{ from, to, severity, message: `${why}${unused}` }];
    const of = packageOf(name);
    const known = this.#known.get(of);
    const info = (message: string): Mistake[] => [{ from, to, severity: 'info', message }];
    if (known === undefined) return [];
    if (known === 'missing') {
      const message = this.#listed.includes(of)
        ? `${of} is on the list of packages and not installed. Install it on the page Packages, or with: perigee package install`
        : `${of} is not among the fleet’s packages. Add it on the page Packages, or with: perigee package add ${of}@VERSION`;
      return [{ from, to, severity, message: `${message}${unused && `.${unused}`}`, packages: true }];
    }
    if ('unread' in known) return info(`The types of ${of} could not be read, so it is any here: ${known.unread}`);
    const leftOut = (known.leftOut ?? []).map((l) => `${l.name} (${l.reason})`).join(', ');
    if (leftOut) return info(`What ${of} takes from these is not known here, and any: ${leftOut}`);
    if (!known.from) return info(`${of}@${known.version} has no types: what it exports is any, and is not checked.`);
    if (unresolved) return info(`${of}@${known.version} declares no types for ${name}: it is any, and is not checked.`);
    return [];
  }

  /** What the script imports once its types are taken away, as the bundler does it. */
  #left(): Set<string> {
    const { outputText } = ts.transpileModule(this.#typed.text, { compilerOptions: { ...OPTIONS, sourceMap: false } });
    return new Set(ts.preProcessFile(outputText, true, true).importedFiles.map((i) => i.fileName));
  }

  /** Whether something is of the runtime. What is not known of it is any. */
  #isPart(name: string): boolean {
    return this.#parts.includes(name) || (!!this.#host && /^(node:|bun:|bun$)/.test(name) && !this.#whyNot(name));
  }

  /** Why a script can never import something; empty where it may be a package. */
  #whyNot(name: string): string {
    const host = this.#host?.name;
    if (/^(https?:|data:|\/\/)/.test(name)) return `${name}: code is imported from packages, not from addresses.`;
    if (/^node:/.test(name) && !host) return partOf(name, 'Node', 'node');
    if (/^(bun:|bun$)/.test(name) && host !== 'bun') return partOf(name, 'Bun', 'bun');
    if (/^[./]/.test(name)) return `${name}: a script is one file; it imports packages and nothing else.`;
    return '';
  }

  /** What is wrong with what the script exports as its default, where it does. */
  #exported(): Mistake[] {
    const file = this.service.getProgram()?.getSourceFile(SCRIPT);
    const statement = file?.statements.find(isDefaultExport);
    if (!file || !statement || file.text !== this.#source) return [];
    this.#put(RESULT, RETURNED);
    const [wrong] = this.service.getSemanticDiagnostics(RESULT);
    if (!wrong)
      return written(ts.isExportAssignment(statement) ? statement.expression : statement)
        .flatMap(named)
        .filter(({ text }) => !READ.includes(text))
        .map((name) => this.#notRead(name.getStart(file), name.getEnd()));
    const start = statement.getStart(file);
    return this.#placed(wrong, start, file.text.indexOf('default', start) + 'default'.length - start);
  }

  /** What can stand at a place. */
  offers(place: number): Offer[] {
    const found = this.service.getCompletionsAtPosition(SCRIPT, this.#typed.into(place), {});
    return (found?.entries ?? [])
      .filter((e) => e.kind !== ts.ScriptElementKind.warning && e.sortText < '16')
      .map((e) => ({ label: e.name, kind: e.kind, boost: -Number(e.sortText) || 0 }));
  }

  /** What stands at a place. */
  told(place: number): Told | null {
    const info = this.service.getQuickInfoAtPosition(SCRIPT, this.#typed.into(place));
    const from = info && this.#typed.back(info.textSpan.start);
    if (!info || from === undefined) return null;
    return {
      from,
      to: from + info.textSpan.length,
      text: words(info.displayParts),
      documentation: words(info.documentation),
    };
  }

  /** The call that is being written at a place. */
  signature(place: number): Signature | null {
    const help = this.service.getSignatureHelpItems(SCRIPT, this.#typed.into(place), {});
    const item = help?.items[help.selectedItemIndex];
    const at = help && this.#typed.back(help.applicableSpan.start);
    if (!help || !item || at === undefined) return null;
    const active = item.isVariadic ? Math.min(help.argumentIndex, item.parameters.length - 1) : help.argumentIndex;
    return {
      at,
      before: words(item.prefixDisplayParts),
      parameters: item.parameters.map((p) => words(p.displayParts)),
      separator: words(item.separatorDisplayParts),
      after: words(item.suffixDisplayParts),
      active,
      documentation: words(item.parameters[active]?.documentation) || words(item.documentation),
      others: help.items.length - 1,
    };
  }
}

function isDefaultExport(node: ts.Statement): boolean {
  if (ts.isExportAssignment(node)) return !node.isExportEquals;
  if (ts.isExportDeclaration(node) && node.exportClause && ts.isNamedExports(node.exportClause))
    return node.exportClause.elements.some((e) => e.name.text === 'default');
  return ts.canHaveModifiers(node) && !!ts.getModifiers(node)?.some((m) => m.kind === ts.SyntaxKind.DefaultKeyword);
}

/** The objects that are written out as what comes of something that is exported. */
function written(node: ts.Node): ts.ObjectLiteralExpression[] {
  if (ts.isParenthesizedExpression(node) || ts.isAsExpression(node) || ts.isSatisfiesExpression(node))
    return written(node.expression);
  if (ts.isConditionalExpression(node)) return [...written(node.whenTrue), ...written(node.whenFalse)];
  if (ts.isPropertyAssignment(node)) return written(node.initializer);
  if (ts.isObjectLiteralExpression(node)) {
    const called = node.properties.find((p) => p.name && CALLED.includes(p.name.getText()));
    return called ? written(called) : [node];
  }
  if (!ts.isFunctionLike(node) || !('body' in node) || !node.body) return [];
  return ts.isBlock(node.body) ? returned(node.body) : written(node.body);
}

/** Those that a function's own statements return. */
function returned(node: ts.Node): ts.ObjectLiteralExpression[] {
  if (ts.isReturnStatement(node)) return node.expression ? written(node.expression) : [];
  const found: ts.ObjectLiteralExpression[] = [];
  if (!ts.isFunctionLike(node) && !ts.isClassLike(node))
    ts.forEachChild(node, (child) => void found.push(...returned(child)));
  return found;
}

/** The names of an object's members; none of one that says itself what it is as JSON. */
function named({ properties }: ts.ObjectLiteralExpression) {
  const names = properties.flatMap(({ name }) =>
    name && (ts.isIdentifier(name) || ts.isStringLiteral(name)) ? [name] : [],
  );
  return names.some(({ text }) => text === 'toJSON') ? [] : names;
}

const partOf = (name: string, program: string, runtime: Runtime) =>
  `${name} is a part of ${program}, and this script runs without it. Set the runtime to ${runtime} where ${program} is installed.`;
