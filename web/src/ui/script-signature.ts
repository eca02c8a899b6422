import { type Extension, Prec, StateEffect, StateField } from '@codemirror/state';
import { EditorView, keymap, showTooltip, type Tooltip, ViewPlugin, type ViewUpdate } from '@codemirror/view';
import type { Signature } from './script-project';

const show = StateEffect.define<Signature | null>();

const shown = StateField.define<Tooltip | null>({
  create: () => null,
  update(tooltip, transaction) {
    for (const effect of transaction.effects) if (effect.is(show)) return effect.value && tooltipOf(effect.value);
    return tooltip && transaction.docChanged
      ? { ...tooltip, pos: transaction.changes.mapPos(tooltip.pos, -1) }
      : tooltip;
  },
  provide: (field) => showTooltip.from(field),
});

function tooltipOf(signature: Signature): Tooltip {
  return { pos: signature.at, above: true, create: () => ({ dom: drawn(signature) }) };
}

function drawn({ before, parameters, separator, after, active, documentation, others }: Signature): HTMLElement {
  const dom = document.createElement('div');
  dom.className = 'code-told code-parameters';
  dom.setAttribute('role', 'status');
  dom.setAttribute('aria-label', 'Parameters');
  dom.append(before);
  for (const [i, text] of parameters.entries()) {
    if (i) dom.append(separator);
    if (i === active) dom.appendChild(document.createElement('strong')).append(text);
    else dom.append(text);
  }
  dom.append(after);
  if (others)
    dom
      .appendChild(document.createElement('small'))
      .append(` and ${others} other ${others === 1 ? 'way' : 'ways'} to call it`);
  if (documentation) dom.appendChild(document.createElement('p')).append(documentation);
  return dom;
}

/**
 * The parameters of the call that is being written. They come with what begins or parts
 * arguments, or with Ctrl-Shift-Space, follow the cursor, and go with Escape.
 */
export function parameters(signatureAt: (place: number) => Promise<Signature | null>): Extension {
  let asked = 0;
  const ask = async (view: EditorView) => {
    const mine = ++asked;
    const found = await signatureAt(view.state.selection.main.head);
    if (mine === asked && (found || view.state.field(shown))) view.dispatch({ effects: show.of(found) });
  };
  const hide = (view: EditorView): boolean => {
    asked++;
    if (!view.state.field(shown)) return false;
    view.dispatch({ effects: show.of(null) });
    return true;
  };
  const follow = ViewPlugin.fromClass(
    class {
      constructor(private view: EditorView) {}
      update(update: ViewUpdate) {
        if (!update.docChanged && !update.selectionSet) return;
        if (update.state.field(shown) || begins(update)) ask(this.view);
      }
      destroy() {
        asked++; // what was asked comes too late
      }
    },
  );
  return [
    shown,
    follow,
    EditorView.domEventHandlers({
      blur(_, view) {
        hide(view);
      },
    }),
    Prec.high(
      keymap.of([
        {
          key: 'Ctrl-Shift-Space',
          run(view) {
            ask(view);
            return true;
          },
        },
        { key: 'Escape', run: hide },
      ]),
    ),
  ];
}

/** Whether arguments were begun or parted by typing. */
function begins(update: ViewUpdate): boolean {
  let found = false;
  if (update.transactions.some((t) => t.isUserEvent('input')))
    update.changes.iterChanges((_a, _b, _c, _d, text) => {
      found ||= /[(,]/.test(text.toString());
    });
  return found;
}
