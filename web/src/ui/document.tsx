import { Button, CopyButton } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import type { Schemas } from '../api/client';

/** What “perigee apply” makes the same of. */
export interface Document {
  kind: string;
  metadata: { name: string; labels?: Record<string, string> | null };
  spec: unknown;
}

type Applied = Schemas['ApplyRequest']['documents'];

export const applicable = (documents: Document[]) =>
  documents.map((d) => ({ apiVersion: 'perigee/v1', ...d })) as Applied;

/** The documents of a form in YAML, to be kept in a file. */
export function AsDocument({ of: documents }: { of: Document[] }) {
  const [open, setOpen] = useState(false);
  const text = useQuery({
    queryKey: ['yaml', documents],
    queryFn: async () => {
      const { stringify } = await import('yaml');
      return (applicable(documents) ?? []).map((d) => stringify(prune(d), { lineWidth: 110 })).join('---\n');
    },
    enabled: open,
    gcTime: 0,
    placeholderData: (before) => before,
  });
  return (
    <details onToggle={(e) => setOpen(e.currentTarget.open)}>
      <summary>The same in YAML, for “perigee apply”</summary>
      <div className="stack inset">
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
        <pre tabIndex={0} data-document>
          {text.data}
        </pre>
        <CopyButton value={text.data ?? ''}>
          {({ copied, copy }) => (
            <div>
              <Button variant="default" size="compact-sm" onClick={copy}>
                {copied ? 'Copied' : 'Copy'}
              </Button>
            </div>
          )}
        </CopyButton>
      </div>
    </details>
  );
}

/** Without what says nothing: empty objects, lists, and texts. */
function prune(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(prune);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value)
      .map(([k, v]) => [k, prune(v)] as const)
      .filter(([k, v]) => k === 'spec' || !(v === undefined || v === null || v === '' || empty(v))),
  );
}

const empty = (v: unknown) => typeof v === 'object' && v !== null && Object.keys(v).length === 0;
