import { Alert, Button, CopyButton } from '@mantine/core';
import { Dialog } from './dialog';

/** Something that is shown this once. */
export function Secret({ title, what, text, close }: { title: string; what: string; text: string; close: () => void }) {
  return (
    <Dialog title={title} close={close} keep>
      <div className="stack">
        <Alert color="yellow" variant="outline">
          The {what} is shown this once. Copy it now.
        </Alert>
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
        <pre tabIndex={0} data-secret>
          {text}
        </pre>
        <div className="row">
          <CopyButton value={text}>
            {({ copied, copy }) => <Button onClick={copy}>{copied ? 'Copied' : `Copy the ${what}`}</Button>}
          </CopyButton>
          <Button variant="default" onClick={close}>
            Done
          </Button>
        </div>
      </div>
    </Dialog>
  );
}
