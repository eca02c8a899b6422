import { createSystem, createVirtualTypeScriptEnvironment } from '@typescript/vfs';
import ts from 'typescript';
import runtime from '../../../internal/script/perigee.d.ts?raw';

/** The file that is being written. */
export const SCRIPT = '/check.ts';
const PACKAGES = '/packages.d.ts';

const LIBS = import.meta.glob<string>(
  [
    '../../node_modules/typescript/lib/lib.es{5,2015,2016,2017,2018,2019,2020,2021,2022,2023}*.d.ts',
    '../../node_modules/typescript/lib/lib.decorators*.d.ts',
    '!**/*.full.d.ts',
  ],
  { query: '?raw', import: 'default', eager: true },
);

const OPTIONS: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2022,
  lib: ['lib.es2023.d.ts'],
  types: [],
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  moduleDetection: ts.ModuleDetectionKind.Force, // a script may await without exporting
  strict: true,
  noImplicitAny: false, // JavaScript is welcome
  noEmit: true,
};

const RETURN_OUTSIDE = 1108; // a script may return
const NO_MODULE = 2307;

export interface Mistake {
  from: number;
  to: number;
  message: string;
}

/** A script among what it finds at run time, as the TypeScript language service sees it. */
export function createProject() {
  const files = new Map<string, string>([
    ['/perigee.d.ts', runtime],
    [PACKAGES, '\n'],
    [SCRIPT, '\n'],
  ]);
  for (const [path, text] of Object.entries(LIBS)) files.set(path.slice(path.lastIndexOf('/')), text);
  return createVirtualTypeScriptEnvironment(createSystem(files), ['/perigee.d.ts', PACKAGES, SCRIPT], ts, OPTIONS);
}

export type Project = ReturnType<typeof createProject>;

/** Lets a script import packages of the fleet. What they export is not known here: it is any. */
export function setPackages(project: Project, names: string[]) {
  const text = names.map((n) => `declare module ${JSON.stringify(n)};\ndeclare module ${JSON.stringify(`${n}/*`)};\n`);
  project.updateFile(PACKAGES, text.join('') || '\n');
}

/** What is wrong with the script, each with its line and column. */
export function mistakesOf(project: Project): Mistake[] {
  const { languageService } = project;
  return [...languageService.getSyntacticDiagnostics(SCRIPT), ...languageService.getSemanticDiagnostics(SCRIPT)]
    .filter((d) => d.category === ts.DiagnosticCategory.Error && d.code !== RETURN_OUTSIDE)
    .flatMap((d) => {
      if (!d.file || d.start === undefined) return [];
      const { line, character } = d.file.getLineAndCharacterOfPosition(d.start);
      const end = d.start + (d.length ?? 0);
      const text =
        d.code === NO_MODULE
          ? `${d.file.text.slice(d.start, end)} is not among the fleet’s packages. Add it on the page Packages, or with: perigee package add NAME@VERSION`
          : ts.flattenDiagnosticMessageText(d.messageText, '\n');
      return [{ from: d.start, to: end, message: `${line + 1}:${character + 1} ${text}` }];
    });
}
