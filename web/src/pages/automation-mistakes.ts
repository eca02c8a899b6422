import { isNode, LineCounter, parseDocument } from 'yaml';
import type { Problem } from '../api/client';
import type { Mistake } from '../ui/code';

/** The definition of a text, or its mistakes. */
export function read(text: string): { definition?: unknown; mistakes: Mistake[] } {
  const lines = new LineCounter();
  const doc = parseDocument(text, { lineCounter: lines });
  const mistakes = doc.errors.map((e) => {
    const { line, col } = lines.linePos(e.pos[0]);
    return { line, column: col, message: e.message.split('\n')[0] ?? e.message };
  });
  return mistakes.length ? { mistakes } : { definition: doc.toJS(), mistakes };
}

/** What the core found wrong with a definition, at its lines. */
export function mistakesOf(text: string, problem: Pick<Problem, 'errors'>): Mistake[] {
  const lines = new LineCounter();
  const doc = parseDocument(text, { lineCounter: lines });
  return (problem.errors ?? []).flatMap((e) => {
    const steps = (e.location ?? '').replace(/^(definition|spec)\.?/, '').match(/[^.[\]]+/g) ?? [];
    const path: (string | number)[] = steps.map((s) => (/^\d+$/.test(s) ? Number(s) : s));
    // A key that is missing has no place; what holds it has.
    for (; path.length > 0; path.pop()) {
      const node = doc.getIn(path, true);
      if (isNode(node) && node.range) {
        const { line, col } = lines.linePos(node.range[0]);
        return [{ line, column: col, message: e.message ?? '' }];
      }
    }
    return [{ line: 1, message: `${e.location ?? ''}: ${e.message ?? ''}` }];
  });
}
