import { Button } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { queries, queryClient, type Schemas, useAll, wordsOf } from '../api/client';
import { May } from '../ui/may';
import { Card, Head, Read } from '../ui/page';
import { plural } from '../ui/span';
import { Status } from '../ui/status';
import { Ago, Moment } from '../ui/time';
import { DeleteChannel } from './channel-editor';

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
      <Read query={all}>
        {(channels) =>
          channels.length ? (
            channels.map((c) => <ChannelCard key={c.id} of={c} />)
          ) : (
            <div className="card">
              <p className="notice">
                No channels yet, so nobody is told of anything. New channel makes one: e-mail, a signed webhook, or a
                chat service by its URL.
              </p>
            </div>
          )
        }
      </Read>
    </>
  );
}

function ChannelCard({ of: c }: { of: Schemas['Channel'] }) {
  const test = queries.useMutation('post', '/channels/{id}/test');
  const deliveries = queries.useQuery('get', '/channels/{id}/deliveries', {
    params: { path: { id: c.id }, query: { limit: 20 } },
  });
  const [deleting, setDeleting] = useState(false);
  const [said, setSaid] = useState<{ of: string; text: string } | null>(null);
  const state = !c.enabled ? 'unknown' : c.failingSince ? 'failed' : c.deliveredAt ? 'delivered' : 'unknown';
  return (
    <Card
      title={
        <span className="row">
          <Status of={state}>
            {!c.enabled ? 'disabled' : c.failingSince ? 'failing' : c.deliveredAt ? 'works' : 'not used yet'}
          </Status>{' '}
          {c.name} <span className="quiet">{c.type}</span>
        </span>
      }
      aside={
        <May to="update-channel">
          <span className="row">
            <Link to="/channels/$id/edit" params={{ id: c.id }} aria-label={`Edit ${c.name}`}>
              Edit
            </Link>
            <Button
              size="compact-sm"
              variant="default"
              aria-label={`Delete ${c.name}`}
              onClick={() => setDeleting(true)}
            >
              Delete
            </Button>
            <Button
              size="compact-sm"
              variant="default"
              loading={test.isPending}
              onClick={async () => {
                setSaid(null);
                try {
                  const d = await test.mutateAsync({ params: { path: { id: c.id } } });
                  setSaid({
                    of: d.state,
                    text:
                      d.state === 'delivered'
                        ? 'The test message was delivered.'
                        : d.error || 'The test message is on its way.',
                  });
                } catch (error) {
                  setSaid({ of: 'failed', text: wordsOf(error) });
                }
                await queryClient.invalidateQueries({
                  predicate: (q) => String(q.queryKey[1]).startsWith('/channels'),
                });
              }}
            >
              Send a test
            </Button>
          </span>
        </May>
      }
    >
      <div className="stack">
        {deleting && <DeleteChannel of={c} close={() => setDeleting(false)} />}
        {c.description && <p>{c.description}</p>}
        {said && (
          <p role="status">
            <Status of={said.of}>{said.text}</Status>
          </p>
        )}
        {c.failingSince && (
          <p className="tone-bad">
            Failing <Ago at={c.failingSince} phrase="for" />: {c.lastError}
          </p>
        )}
        <Read query={deliveries}>
          {(list) =>
            list.items?.length ? (
              <details>
                <summary>{plural(list.items.length, 'message')}, the newest first</summary>
                <ol className="list events">
                  {list.items.map((d) => (
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
            ) : (
              <p className="quiet">It has sent nothing yet.</p>
            )
          }
        </Read>
      </div>
    </Card>
  );
}
