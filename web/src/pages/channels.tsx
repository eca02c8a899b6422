import { Button } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { queries, queryClient, type Schemas, useAll, wordsOf } from '../api/client';
import { May } from '../ui/may';
import { Head, Read, Wrong } from '../ui/page';
import { plural } from '../ui/span';
import { Status } from '../ui/status';
import { type Column, DataTable } from '../ui/table';
import { Ago, Moment } from '../ui/time';
import { DeleteChannel, KINDS } from './channel-editor';

type Channel = Schemas['Channel'];

const stateOf = (c: Channel) =>
  !c.enabled ? 'disabled' : c.failingSince ? 'failing' : c.deliveredAt ? 'works' : 'not used yet';
const TONE: Record<string, string> = { failing: 'failed', works: 'delivered' };

const COLUMNS: Column<Channel>[] = [
  {
    key: 'state',
    title: 'State',
    value: stateOf,
    kinds: (c) => [stateOf(c)],
    cell: (c) => <Status of={TONE[stateOf(c)] ?? 'unknown'}>{stateOf(c)}</Status>,
  },
  {
    key: 'name',
    title: 'Channel',
    value: (c) => c.name,
    text: (c) => `${c.name} ${c.description ?? ''} ${c.lastError ?? ''}`,
    cell: (c) => (
      <>
        <strong>{c.name}</strong>
        {c.description && <div className="quiet small">{c.description}</div>}
        {c.failingSince && (
          <div className="tone-bad">
            Failing <Ago at={c.failingSince} phrase="for" />: {c.lastError}
          </div>
        )}
        <Deliveries of={c} />
      </>
    ),
  },
  { key: 'kind', title: 'Kind', value: (c) => KINDS[c.type].title, kinds: (c) => [KINDS[c.type].title] },
  {
    key: 'delivered',
    title: 'Delivered last',
    newestFirst: true,
    value: (c) => (c.deliveredAt ? Date.parse(c.deliveredAt) : null),
    cell: (c) => (c.deliveredAt ? <Ago at={c.deliveredAt} /> : <span className="quiet">nothing yet</span>),
    wideOnly: true,
  },
  {
    key: 'do',
    title: '',
    value: () => null,
    cell: (c) => (
      <May to="update-channel">
        <Doings of={c} />
      </May>
    ),
  },
];

export function Channels() {
  const all = useAll('/channels');
  return (
    <>
      <Head
        title="Channels"
        actions={
          <May to="create-channel">
            <Button component={Link} to="/channels/new">
              New channel
            </Button>
          </May>
        }
      />
      <div className="card">
        <Read query={all}>
          {(rows) => (
            <DataTable
              label="Channels"
              noun="channel"
              columns={COLUMNS}
              rows={rows}
              id={(c) => c.id}
              sortBy="name"
              empty="No channels yet, so nobody is told of anything. New channel creates one: e-mail, a signed webhook, or a chat service."
            />
          )}
        </Read>
      </div>
    </>
  );
}

function Doings({ of: c }: { of: Channel }) {
  const test = queries.useMutation('post', '/channels/{id}/test');
  const [deleting, setDeleting] = useState(false);
  const [said, setSaid] = useState<{ of: string; text: string } | null>(null);
  const send = async () => {
    setSaid(null);
    try {
      const d = await test.mutateAsync({ params: { path: { id: c.id } } });
      const text =
        d.state === 'delivered' ? 'The test message was delivered.' : d.error || 'The test message is on its way.';
      setSaid({ of: d.state, text });
    } catch (error) {
      setSaid({ of: 'failed', text: wordsOf(error) });
    }
    await queryClient.invalidateQueries({ predicate: (q) => String(q.queryKey[1]).startsWith('/channels') });
  };
  return (
    <>
      <span className="row">
        <Link to="/channels/$id/edit" params={{ id: c.id }} aria-label={`Edit ${c.name}`}>
          Edit
        </Link>
        <Button size="compact-sm" variant="default" aria-label={`Delete ${c.name}`} onClick={() => setDeleting(true)}>
          Delete
        </Button>
        <Button size="compact-sm" variant="default" loading={test.isPending} onClick={send}>
          Send a test
        </Button>
      </span>
      {said && (
        <p role="status">
          <Status of={said.of}>{said.text}</Status>
        </p>
      )}
      {deleting && <DeleteChannel of={c} close={() => setDeleting(false)} />}
    </>
  );
}

/** The newest messages that went out by the channel, and what became of them. */
function Deliveries({ of: c }: { of: Channel }) {
  const deliveries = queries.useQuery('get', '/channels/{id}/deliveries', {
    params: { path: { id: c.id }, query: { limit: 20 } },
  });
  const items = deliveries.data?.items ?? [];
  if (deliveries.error) return <Wrong error={deliveries.error} />;
  if (items.length === 0) return null;
  return (
    <details>
      <summary>{plural(items.length, 'message')}, the newest first</summary>
      <ol className="list events">
        {items.map((d) => (
          <li key={d.key}>
            <Moment at={d.at} />
            <span>
              <Status of={d.state} /> {d.title} {d.error && <span className="tone-bad">{d.error}</span>}{' '}
              {d.attempts > 1 && <span className="quiet">{plural(d.attempts, 'attempt')}</span>}
            </span>
          </li>
        ))}
      </ol>
    </details>
  );
}
