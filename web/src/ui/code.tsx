import {
  autocompletion,
  type Completion,
  type CompletionContext,
  type CompletionSource,
  closeBrackets,
  closeBracketsKeymap,
  completionKeymap,
} from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap } from '@codemirror/commands';
import { yaml, yamlLanguage } from '@codemirror/lang-yaml';
import { bracketMatching, indentOnInput, syntaxHighlighting } from '@codemirror/language';
import { type Diagnostic, setDiagnostics } from '@codemirror/lint';
import { Compartment, EditorState, type Extension } from '@codemirror/state';
import { drawSelection, EditorView, keymap, lineNumbers } from '@codemirror/view';
import { classHighlighter } from '@lezer/highlight';
import { useEffect, useRef } from 'react';
import { scriptLanguage } from './script-language';
import type { Runtime } from './script-project';
import { placeOf } from './yaml-place';
import { type JSONSchema, offersAt } from './yaml-schema';

/** What is offered while one types: what TypeScript knows of a script and its packages, or keys and values of a schema. */
export type Language =
  | { of: 'typescript'; packages: string[]; runtime: Runtime }
  | { of: 'yaml'; schema?: JSONSchema }
  | { of: 'text' };

/** Something that is wrong in the text; lines and columns count from 1. */
export interface Mistake {
  line: number;
  column?: number;
  message: string;
}

const THEME = EditorView.theme({
  '&': { backgroundColor: 'var(--card)', color: 'var(--text)', border: '1px solid var(--line)', borderRadius: '4px' },
  '&.cm-focused': { outline: '2px solid var(--accent)' },
  '.cm-scroller': { fontFamily: 'ui-monospace, SFMono-Regular, Menlo, Consolas, monospace', fontSize: '13px' },
  '.cm-content': { minHeight: '9rem', caretColor: 'var(--text)' },
  '.cm-gutters': { backgroundColor: 'var(--ground)', color: 'var(--quiet)', border: 'none' },
  '.cm-cursor': { borderLeftColor: 'var(--text)' },
  '&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground': {
    backgroundColor: 'var(--selection)',
  },
  '.cm-tooltip': { backgroundColor: 'var(--card)', color: 'var(--text)', border: '1px solid var(--line)' },
  '.cm-tooltip-autocomplete > ul > li[aria-selected]': { backgroundColor: 'var(--accent)', color: 'var(--card)' },
  '.cm-tooltip-autocomplete > ul > li[aria-selected] .cm-completionDetail': { color: 'var(--card)' },
  '.cm-completionDetail': { color: 'var(--quiet)' },
  // The library draws it by an image in the style, which the page's policy does not let in.
  '.cm-lintRange-error': { backgroundImage: 'none', textDecoration: 'underline wavy var(--bad)' },
  '.cm-lintRange-warning': { backgroundImage: 'none', textDecoration: 'underline wavy var(--warn)' },
  '.cm-lintRange-info': { backgroundImage: 'none', textDecoration: 'underline dotted var(--quiet)' },
  '.cm-lintRange-active': { backgroundColor: 'transparent', outline: '1px solid var(--accent)' },
  '.cm-diagnostic': { whiteSpace: 'pre-wrap' },
  '.cm-diagnosticAction': { backgroundColor: 'var(--accent)', color: 'var(--card)' },
  // In the list of mistakes a button would stand in an option, where none may be: there the row's words lead on.
  '.cm-panel-lint .cm-diagnosticAction': { display: 'none' },
  '.code-told': {
    maxWidth: 'min(40rem, 90vw)',
    padding: '0.2rem 0.5rem',
    fontFamily: 'ui-monospace, SFMono-Regular, Menlo, Consolas, monospace',
    fontSize: '13px',
    whiteSpace: 'pre-wrap',
    overflowWrap: 'anywhere',
  },
  '.code-told p': { margin: '0.2rem 0 0', fontFamily: 'var(--mantine-font-family)', color: 'var(--quiet)' },
  '.code-told strong': { color: 'var(--accent)', textDecoration: 'underline' },
  '.code-told small': { color: 'var(--quiet)' },
  '.cm-completionInfo': { maxWidth: '24rem' },
});

const yamlSource =
  (schema: JSONSchema): CompletionSource =>
  (context: CompletionContext) => {
    const place = placeOf(context.state.doc.toString(), context.pos);
    if (!place || (!place.prefix && !context.explicit && place.key === undefined)) return null;
    const options = offersAt(schema, place).map(
      (o): Completion => ({
        ...o,
        type: place.key === undefined ? 'property' : 'enum',
        apply: place.key === undefined ? `${o.label}: ` : o.label,
      }),
    );
    return options.length ? { from: context.pos - place.prefix.length, options } : null;
  };

function languageOf(language: Language): Extension {
  switch (language.of) {
    case 'typescript':
      return scriptLanguage(language.packages, language.runtime);
    case 'yaml':
      return [yaml(), language.schema ? yamlLanguage.data.of({ autocomplete: yamlSource(language.schema) }) : []];
    default:
      return [];
  }
}

/** An editor of code. Tab leaves it, as it does any field; Ctrl-Space offers what fits. */
export default function Code({
  label,
  value,
  onChange,
  language,
  mistakes = [],
}: {
  label: string;
  value: string;
  onChange: (value: string) => void;
  language: Language;
  mistakes?: Mistake[];
}) {
  const box = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView>(null);
  const spoken = useRef({ by: new Compartment(), language });
  const changed = useRef(onChange);
  changed.current = onChange;
  // biome-ignore lint/correctness/useExhaustiveDependencies: what is typed is kept, so the first value alone counts
  useEffect(() => {
    const nonce = document.querySelector<HTMLMetaElement>('meta[property="csp-nonce"]')?.nonce ?? '';
    const editor = new EditorView({
      parent: box.current as HTMLElement,
      state: EditorState.create({
        doc: value,
        extensions: [
          EditorView.cspNonce.of(nonce),
          lineNumbers(),
          history(),
          drawSelection(),
          indentOnInput(),
          bracketMatching(),
          closeBrackets(),
          autocompletion({ icons: false }),
          syntaxHighlighting(classHighlighter),
          EditorView.lineWrapping,
          EditorView.contentAttributes.of({ 'aria-label': label }),
          keymap.of([...closeBracketsKeymap, ...completionKeymap, ...defaultKeymap, ...historyKeymap]),
          spoken.current.by.of(languageOf(spoken.current.language)),
          THEME,
          EditorView.updateListener.of((update) => {
            if (update.docChanged) changed.current(update.state.doc.toString());
          }),
        ],
      }),
    });
    view.current = editor;
    return () => editor.destroy();
  }, [label]);
  // What a language knows may change while one types: the text, the cursor and the history stay.
  useEffect(() => {
    if (spoken.current.language === language) return;
    spoken.current.language = language;
    view.current?.dispatch({ effects: spoken.current.by.reconfigure(languageOf(language)) });
  }, [language]);
  // A value that was not typed here, as when a change is undone.
  useEffect(() => {
    const editor = view.current;
    if (editor && editor.state.doc.toString() !== value)
      editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: value } });
  }, [value]);
  useEffect(() => {
    const editor = view.current;
    if (!editor || language.of === 'typescript') return; // TypeScript tells them
    const { doc } = editor.state;
    const diagnostics = mistakes.map(({ line, column = 1, message }): Diagnostic => {
      const at = doc.line(Math.min(Math.max(1, line), doc.lines));
      const from = Math.min(at.from + column - 1, at.to);
      return { from, to: at.to, severity: 'error', message };
    });
    editor.dispatch(setDiagnostics(editor.state, diagnostics));
  }, [mistakes, language]);
  return <div className="code" ref={box} />;
}
