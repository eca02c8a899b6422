import type { CompletionContext, CompletionResult } from '@codemirror/autocomplete';
import { javascript, javascriptLanguage } from '@codemirror/lang-javascript';
import { type Diagnostic, linter, lintKeymap } from '@codemirror/lint';
import type { Extension } from '@codemirror/state';
import { type EditorView, hoverTooltip, keymap, ViewPlugin, type ViewUpdate } from '@codemirror/view';
import { proxy, type Remote, wrap } from 'comlink';
import { api, wordsOf } from '../api/client';
import { importedIn } from './script-imports';
import type { Known, Mistake, Runtime } from './script-project';
import { parameters } from './script-signature';
import type { Service } from './script-worker';

/** What the core knows of a package's types. */
async function load(name: string): Promise<Known> {
  const { data, error, response } = await api.GET('/packages/types', { params: { query: { name } } });
  if (data) return data;
  return response.status === 404 ? 'missing' : { unread: wordsOf(error) };
}

const reads = (name: string) => load(name).catch((error): Known => ({ unread: String(error) }));

// In a window of its own: what is being written stays.
const toPackages = { name: 'Open the page Packages', apply: () => void window.open('/packages', '_blank', 'noopener') };

const diagnosticOf = ({ packages, ...mistake }: Mistake): Diagnostic => ({
  ...mistake,
  actions: packages ? [toPackages] : undefined,
});

/** TypeScript for one editor, in a worker that ends with it. */
export function scriptLanguage(packages: string[], runtime: Runtime): Extension {
  const thread = new Worker(new URL('./script-worker.ts', import.meta.url), { type: 'module' });
  const service: Remote<Service> = wrap<Service>(thread);
  service.begin(packages, runtime, proxy(reads));

  const sync = ViewPlugin.fromClass(
    class {
      constructor(view: EditorView) {
        service.write(view.state.doc.toString());
      }
      update(update: ViewUpdate) {
        if (update.docChanged) service.write(update.state.doc.toString());
      }
      destroy() {
        thread.terminate();
      }
    },
  );
  return [
    javascript({ typescript: true }),
    javascriptLanguage.data.of({ autocomplete: (context: CompletionContext) => offers(service, packages, context) }),
    sync,
    linter(async () => (await service.mistakes()).map(diagnosticOf), { delay: 300 }),
    hoverTooltip(async (_, place) => {
      const told = await service.told(place);
      if (!told) return null;
      return { pos: told.from, end: told.to, create: () => ({ dom: said(told.text, told.documentation) }) };
    }),
    parameters((place) => service.signature(place)),
    keymap.of(lintKeymap),
  ];
}

function said(text: string, documentation: string): HTMLElement {
  const dom = document.createElement('div');
  dom.className = 'code-told';
  dom.append(text);
  if (documentation) dom.appendChild(document.createElement('p')).append(documentation);
  return dom;
}

async function offers(
  service: Remote<Service>,
  packages: string[],
  context: CompletionContext,
): Promise<CompletionResult | null> {
  const line = context.state.doc.lineAt(context.pos);
  const name = importedIn(line.text.slice(0, context.pos - line.from));
  if (name !== undefined)
    return {
      from: context.pos - name.length,
      options: packages.map((label) => ({ label, type: 'namespace', detail: 'package' })),
    };
  const word = context.matchBefore(/[\w$]*/);
  const from = word?.from ?? context.pos;
  if (from === context.pos && !context.explicit && context.state.sliceDoc(from - 1, from) !== '.') return null;
  const found = await service.offers(context.pos);
  if (!found.length) return null;
  return {
    from,
    validFor: /^[\w$]*$/,
    options: found.map(({ label, kind, boost }) => ({ label, boost, type: kind })),
  };
}
