import ts from 'typescript';

/** A script as TypeScript is shown it, and where what is in the one lies in the other. */
export interface Typed {
  text: string;
  /** A place in the script, in the text. */
  into(place: number): number;
  /** A place in the text, in the script; undefined for what was put around it. */
  back(place: number): number | undefined;
}

// As bundle.go has it: the cases in internal/script/testdata hold both to the same.
const IMPORTS = /(?:^|;)[ \t]*import\s(?:[^;"'`]*?\sfrom\s*)?["'][^"'\n]+["']/gm;
const HEAD = 'export default async function (): Promise<PerigeeReturn> { ';

/**
 * A script that returns is the body of a function at run time, below its imports, so it is
 * that to TypeScript too. Any other is a module as it stands.
 */
export function typed(source: string): Typed {
  // An empty file is none to the language service.
  if (!returns(source)) return { text: source || '\n', into: (place) => place, back: (place) => place };
  const spans: { from: number; to: number; at: number }[] = [];
  let head = '';
  const body = source.replace(IMPORTS, (found, offset: number) => {
    const skip = /^[;\s]*/.exec(found)?.[0].length ?? 0;
    spans.push({ from: offset + skip, to: offset + found.length, at: head.length });
    head += `${found.slice(skip)}; `;
    return found.replace(/[^\n]/g, ' ');
  });
  head += HEAD;
  return {
    text: `${head}${body}\n}`,
    into(place) {
      const span = spans.find((s) => s.from <= place && place <= s.to);
      return span ? span.at + place - span.from : head.length + place;
    },
    back(place) {
      const span = spans.find((s) => s.at <= place && place <= s.at + s.to - s.from);
      if (span) return span.from + place - span.at;
      return place >= head.length ? Math.min(place - head.length, source.length) : undefined;
    },
  };
}

/** Whether a script returns outside of any function. */
function returns(source: string): boolean {
  const visit = (node: ts.Node): boolean => {
    if (ts.isReturnStatement(node)) return true;
    if (ts.isFunctionLike(node) || ts.isClassLike(node)) return false;
    return ts.forEachChild(node, (child) => visit(child) || undefined) ?? false;
  };
  return visit(ts.createSourceFile('/check.ts', source, ts.ScriptTarget.ES2022));
}
