import { Button, Select, Textarea } from '@mantine/core';
import { Link, useParams } from '@tanstack/react-router';
import { useState } from 'react';
import { queries, queryClient, type Schemas, useAll, wordsOf } from '../api/client';
import { May } from '../ui/may';
import { Card, Facts, Head, Read } from '../ui/page';
import { span } from '../ui/span';
import { Status } from '../ui/status';
import { type Column, DataTable } from '../ui/table';
import { Ago, Moment } from '../ui/time';
import { OpenIncident } from './incident-open';

type Incident = Schemas['Incident'];
const RANK = ['critical', 'major', 'minor'];

const COLUMNS: Column<Incident>[] = [
  {
    key: 'state',
    title: 'State',
    value: (i) => (i.resolvedAt ? 10 : RANK.indexOf(i.severity)),
    text: (i) => `${i.status} ${i.severity}`,
    kinds: (i) => [i.resolvedAt ? 'resolved' : 'open', i.severity],
    cell: (i) =>
      i.resolvedAt ? (
        <Status of="resolved" />
      ) : (
        <Status of={i.severity}>
          {i.status}, {i.severity}
        </Status>
      ),
  },
  {
    key: 'title',
    title: 'Incident',
    value: (i) => i.title,
    cell: (i) => (
      <Link to="/incidents/$id" params={{ id: i.id }}>
        {i.title}
      </Link>
    ),
  },
  {
    key: 'opened',
    title: 'Opened',
    newestFirst: true,
    value: (i) => Date.parse(i.openedAt),
    cell: (i) => <Moment at={i.openedAt} />,
  },
  {
    key: 'lasted',
    title: 'Lasted',
    value: (i) => (i.resolvedAt ? Date.parse(i.resolvedAt) : Date.now()) - Date.parse(i.openedAt),
    cell: (i) =>
      i.resolvedAt ? span(Date.parse(i.resolvedAt) - Date.parse(i.openedAt)) : <Ago at={i.openedAt} phrase="for" />,
  },
];

export function Incidents() {
  const all = useAll('/incidents');
  const [opening, setOpening] = useState(false);
  return (
    <>
      <Head
        title="Incidents"
        actions={
          <May to="open-incident">
            <Button onClick={() => setOpening(true)}>Open an incident</Button>
          </May>
        }
      />
      {opening && <OpenIncident close={() => setOpening(false)} />}
      <div className="card">
        <Read query={all}>
          {(rows) => (
            <DataTable
              label="Incidents"
              noun="incident"
              columns={COLUMNS}
              rows={rows}
              id={(i) => i.id}
              sortBy="state"
              empty="No incidents. Open one by hand, or let an automation open one when something fails."
            />
          )}
        </Read>
      </div>
    </>
  );
}

export function Incident() {
  const { id } = useParams({ strict: false }) as { id: string };
  const incident = queries.useQuery('get', '/incidents/{id}', { params: { path: { id } } });
  const i = incident.data;
  return (
    <>
      <Head title={i?.title ?? 'Incident'} crumb={<Link to="/incidents">Incidents</Link>}>
        {i &&
          (i.resolvedAt ? (
            <Status of="resolved" />
          ) : (
            <Status of={i.severity}>
              {i.status}, {i.severity}
            </Status>
          ))}
      </Head>
      <Read query={incident}>
        {(i) => (
          <div className="columns">
            <Card title="Timeline" pad={false}>
              <ol className="list events">
                {[...(i.timeline ?? [])].reverse().map((e) => (
                  <li key={e.id}>
                    <Moment at={e.at} />
                    <span>
                      <strong>{e.status}</strong>
                      {e.actor?.name ? <span className="quiet"> by {e.actor.name}</span> : null}
                      {e.text && <div>{e.text}</div>}
                    </span>
                  </li>
                ))}
              </ol>
            </Card>
            <div>
              {!i.resolvedAt && (
                <May to="update-incident">
                  <UpdateIncident of={i} />
                </May>
              )}
              <Card title="About">
                <IncidentFacts of={i} />
              </Card>
            </div>
          </div>
        )}
      </Read>
    </>
  );
}

function IncidentFacts({ of: i }: { of: Incident }) {
  const systems = useAll('/systems');
  const names = new Map((systems.data ?? []).map((s) => [s.id, s.name]));
  return (
    <Facts
      of={[
        [
          'Systems',
          i.systems?.length
            ? i.systems.map((id) => (
                <div key={id}>
                  <Link to="/systems/$id" params={{ id }}>
                    {names.get(id) ?? id}
                  </Link>
                </div>
              ))
            : null,
        ],
        ['Opened', <Moment key="o" at={i.openedAt} />],
        ['Resolved', i.resolvedAt ? <Moment key="r" at={i.resolvedAt} /> : 'not yet'],
        [
          'Cause',
          i.cause ? (
            <span key="c" className="mono">
              {i.cause}
            </span>
          ) : null,
        ],
        ['Parts that still fail', i.parts?.length ? i.parts.join(', ') : null],
      ]}
    />
  );
}

function UpdateIncident({ of: i }: { of: Incident }) {
  const update = queries.useMutation('post', '/incidents/{id}/updates');
  const [text, setText] = useState('');
  const [status, setStatus] = useState<Incident['status']>(i.status);
  const [wrong, setWrong] = useState('');
  return (
    <Card title="Update">
      <form
        className="stack"
        onSubmit={async (event) => {
          event.preventDefault();
          setWrong('');
          try {
            await update.mutateAsync({ params: { path: { id: i.id } }, body: { status, text } });
            setText('');
            await queryClient.invalidateQueries({ predicate: (q) => String(q.queryKey[1]).startsWith('/incidents') });
          } catch (error) {
            setWrong(wordsOf(error));
          }
        }}
      >
        <Textarea
          label="What is known"
          autosize
          minRows={2}
          value={text}
          onChange={(e) => setText(e.currentTarget.value)}
        />
        <Select
          label="State"
          data={['open', 'identified', 'monitoring', 'resolved']}
          value={status}
          allowDeselect={false}
          onChange={(v) => v && setStatus(v as Incident['status'])}
        />
        {wrong && (
          <p className="tone-bad" role="alert">
            {wrong}
          </p>
        )}
        <Button type="submit" loading={update.isPending}>
          Add to the timeline
        </Button>
      </form>
    </Card>
  );
}
