import { Button } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { queries, queryClient, type Schemas, useAll, wordsOf } from '../api/client';
import { Doing } from '../ui/form';
import { May } from '../ui/may';
import { Head, Read } from '../ui/page';
import { Status } from '../ui/status';
import { type Column, DataTable } from '../ui/table';
import { Moment } from '../ui/time';

type Maintenance = Schemas['Maintenance'];

const COLUMNS: Column<Maintenance>[] = [
  {
    key: 'state',
    title: 'State',
    value: (m) => (m.active ? 0 : 1),
    text: (m) => (m.active ? 'lasts now' : 'not now'),
    kinds: (m) => [m.active ? 'lasts now' : 'not now'],
    cell: (m) => <Status of={m.active ? 'degraded' : 'unknown'}>{m.active ? 'lasts now' : 'not now'}</Status>,
  },
  {
    key: 'name',
    title: 'Name',
    value: (m) => m.name,
    text: (m) => `${m.name} ${m.description ?? ''}`,
    cell: (m) => (
      <>
        <strong>{m.name}</strong>
        {m.description && <div className="quiet small">{m.description}</div>}
      </>
    ),
  },
  { key: 'systems', title: 'Systems', value: (m) => systemsOf(m) },
  {
    key: 'start',
    title: 'From',
    value: (m) => (m.start ? Date.parse(m.start) : null),
    cell: (m) =>
      m.start ? (
        <Moment at={m.start} />
      ) : (
        m.schedule?.cron && (
          <span className="mono">
            {m.schedule.cron} for {String(m.schedule.duration)}
          </span>
        )
      ),
  },
  {
    key: 'end',
    title: 'Until',
    value: (m) => (m.end ? Date.parse(m.end) : null),
    cell: (m) => m.end && <Moment at={m.end} />,
  },
  {
    key: 'do',
    title: '',
    value: () => null,
    cell: (m) => (
      <May to="update-maintenance">
        <Doings of={m} />
      </May>
    ),
  },
];

const systemsOf = (m: Maintenance) =>
  [m.systems.names?.join(', '), m.systems.selector, m.checks?.length ? `only ${m.checks.join(', ')}` : '']
    .filter(Boolean)
    .join('; ') || 'all';

function Doings({ of: m }: { of: Maintenance }) {
  const [deleting, setDeleting] = useState(false);
  const remove = queries.useMutation('delete', '/maintenances/{id}');
  return (
    <span className="row">
      <Ending of={m} />
      <Link to="/maintenances/$id/edit" params={{ id: m.id }} aria-label={`Edit ${m.name}`}>
        Edit
      </Link>
      <Button size="compact-sm" variant="default" onClick={() => setDeleting(true)} aria-label={`Delete ${m.name}`}>
        Delete
      </Button>
      {deleting && (
        <Doing
          title={`Delete ${m.name}`}
          button="Delete it"
          danger
          close={() => setDeleting(false)}
          touches="/"
          run={async () => {
            await remove.mutateAsync({ params: { path: { id: m.id } } });
            setDeleting(false);
          }}
        >
          <p>
            {m.active ? 'It lasts now: what it held back is told at once.' : 'It will not begin.'} This cannot be
            undone.
          </p>
        </Doing>
      )}
    </span>
  );
}

function Ending({ of: m }: { of: Maintenance }) {
  const end = queries.useMutation('post', '/maintenances/{id}/end');
  const [wrong, setWrong] = useState('');
  if (!m.active) return null;
  return (
    <>
      <Button
        size="compact-sm"
        variant="default"
        loading={end.isPending}
        onClick={async () => {
          try {
            await end.mutateAsync({ params: { path: { id: m.id } } });
            await queryClient.invalidateQueries({ queryKey: ['get', '/maintenances'] });
          } catch (error) {
            setWrong(wordsOf(error));
          }
        }}
      >
        End now
      </Button>
      {wrong && (
        <span className="tone-bad" role="alert">
          {wrong}
        </span>
      )}
    </>
  );
}

export function Maintenances() {
  const all = useAll('/maintenances');
  return (
    <>
      <Head
        title="Maintenance"
        actions={
          <May to="create-maintenance">
            <Button component={Link} to="/maintenances/new">
              Plan a maintenance
            </Button>
          </May>
        }
      />
      <div className="card">
        <Read query={all}>
          {(rows) => (
            <DataTable
              label="Maintenances"
              noun="maintenance"
              columns={COLUMNS}
              rows={rows}
              id={(m) => m.id}
              sortBy="state"
              empty="No maintenance is planned. While one lasts, checks go on and nobody is alarmed; it can also be begun from the page of a system."
            />
          )}
        </Read>
      </div>
    </>
  );
}
