import { Button } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { clockAhead, queries, queryClient, type Schemas, useAll, wordsOf } from '../api/client';
import { Doing } from '../ui/form';
import { May } from '../ui/may';
import { Head, Read } from '../ui/page';
import { Status } from '../ui/status';
import { type Column, DataTable } from '../ui/table';
import { Moment } from '../ui/time';

type Maintenance = Schemas['Maintenance'];

const STATES = ['active', 'planned', 'over'];

/** How far a maintenance is; one that comes again is never over. */
const stateOf = (m: Maintenance): string =>
  m.active ? 'active' : m.end && Date.parse(m.end) <= Date.now() + clockAhead ? 'over' : 'planned';

/** What is lost when it is deleted. */
const LOST: Record<string, string> = {
  active: 'It lasts now: what it held back is told at once.',
  planned: 'It will not begin.',
  over: 'It is over; only its record goes.',
};

const COLUMNS: Column<Maintenance>[] = [
  {
    key: 'state',
    title: 'State',
    value: (m) => STATES.indexOf(stateOf(m)),
    text: stateOf,
    kinds: (m) => [stateOf(m)],
    cell: (m) => <Status of={m.active ? 'degraded' : 'unknown'}>{stateOf(m)}</Status>,
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
          <p>{LOST[stateOf(m)]} This cannot be undone.</p>
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
              empty="No maintenance is planned. While one lasts, nobody is alarmed about its systems. Plan one here, or begin one now on the page of a system."
            />
          )}
        </Read>
      </div>
    </>
  );
}
