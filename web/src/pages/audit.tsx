import { Button, Select, TextInput } from '@mantine/core';
import { useInfiniteQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useDeferredValue } from 'react';
import { api, clockAhead, type Problem, type Schemas } from '../api/client';
import { Head, Read } from '../ui/page';
import { plural } from '../ui/span';
import { Status } from '../ui/status';
import { type Column, DataTable } from '../ui/table';
import { Moment } from '../ui/time';
import { useUrl } from '../ui/url';

type Entry = Schemas['AuditEntry'];
type Page = Schemas['ListAuditEntry'];

const TONE = { allowed: 'healthy', refused: 'failed', failed: 'degraded' } as const;
const HOURS: Record<string, number> = { hour: 1, day: 24, week: 168, month: 720 };

// Where what the log calls by its kind has a page of its own.
const PAGES = ['satellites', 'systems', 'checks', 'incidents', 'automations', 'automation-runs'];

/** What somebody did something to, with the way there while there is one. */
function Thing({ of: e }: { of: Entry }) {
  const [kind = '', ...name] = e.object.split('/');
  const gone = e.operation.startsWith('delete-') && e.outcome === 'allowed';
  if (!name.length) return e.object;
  return (
    <>
      <span className="quiet">{kind.replaceAll('-', ' ').replace(/s$/, '')}</span>{' '}
      {PAGES.includes(kind) && e.objectId && !gone ? (
        <Link to={`/${kind}/${e.objectId}` as string} style={{ textDecoration: 'underline' }}>
          {name.join('/')}
        </Link>
      ) : (
        name.join('/')
      )}
    </>
  );
}

const COLUMNS: Column<Entry>[] = [
  { key: 'at', title: 'When', newestFirst: true, value: (e) => e.id, cell: (e) => <Moment at={e.at} /> },
  { key: 'who', title: 'Who', value: (e) => e.actor, cell: (e) => e.actor || <span className="quiet">somebody</span> },
  { key: 'from', title: 'From', value: (e) => e.source, wideOnly: true },
  { key: 'operation', title: 'Did', value: (e) => e.operation },
  { key: 'object', title: 'To', value: (e) => e.object, cell: (e) => <Thing of={e} /> },
  {
    key: 'outcome',
    title: 'Outcome',
    value: (e) => e.outcome,
    cell: (e) => <Status of={TONE[e.outcome]}>{e.outcome}</Status>,
  },
  {
    key: 'what',
    title: 'What',
    value: (e) => e.change,
    cell: (e) => (
      <div className="reason" style={{ minWidth: '15rem' }}>
        {e.outcome === 'allowed' ? e.change : e.reason || e.change}
        <Changes of={e} />
        {e.missed > 0 && (
          <span className="quiet"> ({e.missed} refusals before it were too many to be written down)</span>
        )}
      </div>
    ),
  },
];

/** Each field before and after; what was made or deleted has one side only. */
function Changes({ of: e }: { of: Entry }) {
  if (!e.changes?.length) return null;
  return (
    <details>
      <summary className="small">{plural(e.changes.length, 'field')}, before and after</summary>
      <dl className="changes">
        {e.changes.map((f) => (
          <div key={f.path}>
            <dt className="mono">{f.path}</dt>
            {f.from !== null && (
              <dd className="mono">
                <del>{shown(f.from)}</del>
              </dd>
            )}
            {f.to !== null && (
              <dd className="mono">
                <ins>{shown(f.to)}</ins>
              </dd>
            )}
          </div>
        ))}
      </dl>
    </details>
  );
}

const shown = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value));

export function Audit() {
  const [url, setUrl] = useUrl();
  const who = useDeferredValue(url.who ?? '');
  const what = useDeferredValue(url.what ?? '');
  const to = useDeferredValue(url.to ?? '');
  const entries = useInfiniteQuery<Page, Problem, Entry[], unknown[], string>({
    queryKey: ['get', '/audit', { who, what, to, outcome: url.outcome, since: url.since }],
    initialPageParam: '',
    getNextPageParam: (page) => page.nextCursor ?? undefined,
    select: ({ pages }) => pages.flatMap((page) => page.items ?? []),
    queryFn: async ({ pageParam, signal }) => {
      const hours = HOURS[url.since ?? ''];
      const { data, error } = await api.GET('/audit', {
        params: {
          query: {
            limit: 200,
            ...(pageParam && { cursor: pageParam }),
            ...(who && { actor: who }),
            ...(what && { operation: what }),
            ...(to && { object: to }),
            ...(url.outcome && { outcome: url.outcome as Entry['outcome'] }),
            ...(hours && { from: new Date(Date.now() + clockAhead - hours * 3_600_000).toISOString() }),
          },
        },
        signal,
      });
      if (!data) throw error;
      return data;
    },
  });
  const field = (key: 'who' | 'what' | 'to', label: string) => (
    <TextInput
      aria-label={label}
      placeholder={label}
      value={url[key] ?? ''}
      onChange={(e) => setUrl({ [key]: e.currentTarget.value })}
      style={{ flex: '1 1 9rem', maxWidth: '14rem' }}
    />
  );
  return (
    <>
      <Head title="Audit log" />
      <div className="row" style={{ marginBottom: '0.75rem' }}>
        {field('who', 'Who')}
        {field('what', 'Did, such as delete')}
        {field('to', 'To, such as satellites/')}
        <Select
          aria-label="Outcome"
          placeholder="Any outcome"
          clearable
          data={['allowed', 'refused', 'failed']}
          value={url.outcome ?? null}
          onChange={(outcome) => setUrl({ outcome: outcome ?? undefined })}
          w="9rem"
        />
        <Select
          aria-label="When"
          placeholder="At any time"
          clearable
          data={Object.keys(HOURS).map((value) => ({ value, label: `in the last ${value}` }))}
          value={url.since ?? null}
          onChange={(since) => setUrl({ since: since ?? undefined })}
          w="11rem"
        />
      </div>
      <div className="card">
        <Read query={entries}>
          {(rows) => (
            <DataTable
              label="Audit log"
              noun="entry"
              search={false}
              columns={COLUMNS}
              rows={rows}
              id={(e) => String(e.id)}
              sortBy="-at"
              empty="No entry matches. Every change, sign-in and refusal is noted here."
            />
          )}
        </Read>
        {entries.hasNextPage && (
          <p className="notice">
            <Button variant="default" loading={entries.isFetchingNextPage} onClick={() => void entries.fetchNextPage()}>
              Older ones
            </Button>
          </p>
        )}
      </div>
    </>
  );
}
