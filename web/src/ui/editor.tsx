import { type ReactNode, useState } from 'react';
import { Form } from './form';

/** A form of one thing, as it was and as it is being changed until it is saved. */
export function Editor<T>({
  first,
  save,
  button,
  cancel,
  touches,
  children,
}: {
  first: T;
  save: (draft: T) => Promise<void>;
  button: string;
  cancel: () => void;
  touches: string; // as of Form
  children: (draft: T, change: (draft: T) => void) => ReactNode;
}) {
  const [draft, setDraft] = useState(first);
  return (
    <div className="editor">
      <Form save={() => save(draft)} button={button} cancel={cancel} touches={touches} dirty={draft !== first}>
        {children(draft, setDraft)}
      </Form>
    </div>
  );
}
