import type { CompletionSource } from '@codemirror/autocomplete';
import { javascript, javascriptLanguage } from '@codemirror/lang-javascript';
import { linter, lintKeymap } from '@codemirror/lint';
import type { Extension } from '@codemirror/state';
import { type EditorView, keymap, ViewPlugin, type ViewUpdate } from '@codemirror/view';
import { tsAutocompleteWorker, tsFacetWorker, tsHoverWorker } from '@valtown/codemirror-ts';
import { type Remote, wrap } from 'comlink';
import { importedIn } from './script-imports';
import type { Service } from './script-worker';

const path = '/check.ts';

/** TypeScript for one editor, in a worker that ends with it. */
export function scriptLanguage(packages: string[]): Extension {
  const thread = new Worker(new URL('./script-worker.ts', import.meta.url), { type: 'module' });
  const service: Remote<Service> = wrap<Service>(thread);
  service.initialize();
  service.setPackages(packages);

  const sync = ViewPlugin.fromClass(
    class {
      constructor(view: EditorView) {
        this.send(view);
      }
      update(update: ViewUpdate) {
        if (update.docChanged) this.send(update.view);
      }
      send(view: EditorView) {
        // An empty file is none to the language service.
        service.updateFile({ path, code: view.state.doc.toString() || '\n' });
      }
      destroy() {
        thread.terminate();
      }
    },
  );
  const typed = tsAutocompleteWorker();
  const offers: CompletionSource = (context) => {
    const line = context.state.doc.lineAt(context.pos);
    const name = importedIn(line.text.slice(0, context.pos - line.from));
    if (name === undefined) return typed(context);
    return {
      from: context.pos - name.length,
      options: packages.map((label) => ({ label, type: 'namespace', detail: 'package' })),
    };
  };
  return [
    javascript({ typescript: true }),
    javascriptLanguage.data.of({ autocomplete: offers }),
    tsFacetWorker.of({ path, worker: service }),
    sync,
    linter(async () => (await service.mistakes()).map((m) => ({ ...m, severity: 'error' as const })), { delay: 300 }),
    tsHoverWorker(),
    keymap.of(lintKeymap),
  ];
}
