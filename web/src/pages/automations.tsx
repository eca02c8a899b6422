import { Button } from '@mantine/core';
import { Link, useNavigate, useParams } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { queries, queryClient, type Schemas, useAll, wordsOf } from '../api/client';
import { Doing } from '../ui/form';
import { May } from '../ui/may';
import { Head, Read } from '../ui/page';
import { Status } from '../ui/status';
import { type Column, DataTable } from '../ui/table';
import { Moment } from '../ui/time';
import { EditAutomation } from './automation-editor';
import { RunNow, Runs } from './automation-run';

type Automation = Schemas['Automation'];
type Definition = { description?: string; triggers?: { id?: string; event?: string }[]; mode?: string };

const definitionOf = (a: Automation) => (a.definition ?? {}) as Definition;

const COLUMNS: Column<Automation>[] = [
  {
    key: 'state',
    title: 'State',
    value: (a) => (a.enabled ? 0 : 1),
    text: (a) => (a.enabled ? 'enabled' : 'disabled'),
    kinds: (a) => [a.enabled ? 'enabled' : 'disabled'],
    cell: (a) => <Status of={a.enabled ? 'online' : 'unknown'}>{a.enabled ? 'enabled' : 'disabled'}</Status>,
  },
  {
    key: 'name',
    title: 'Automation',
    value: (a) => a.name,
    text: (a) => `${a.name} ${definitionOf(a).description ?? ''}`,
    cell: (a) => (
      <>
        <Link to="/automations/$id" params={{ id: a.id }}>
          {a.name}
        </Link>
        <div className="quiet small">{definitionOf(a).description}</div>
      </>
    ),
  },
  {
    key: 'on',
    title: 'When',
    value: (a) => [...new Set((definitionOf(a).triggers ?? []).map((t) => t.event ?? t.id))].join(', '),
    wideOnly: true,
  },
  {
    key: 'changed',
    title: 'Changed',
    newestFirst: true,
    value: (a) => Date.parse(a.updatedAt),
    cell: (a) => <Moment at={a.updatedAt} />,
    wideOnly: true,
  },
];

export function Automations() {
  const all = useAll('/automations');
  const names = useMemo(() => new Map((all.data ?? []).map((a) => [a.id, a.name])), [all.data]);
  return (
    <>
      <Head
        title="Automations"
        actions={
          <May to="create-automation">
            <Button component={Link} to="/automations/new">
              New automation
            </Button>
          </May>
        }
      />
      <div className="card">
        <Read query={all}>
          {(rows) => (
            <DataTable
              label="Automations"
              noun="automation"
              columns={COLUMNS}
              rows={rows}
              id={(a) => a.id}
              sortBy="name"
              empty="No automations yet, so nothing reacts to what happens. New automation creates one, and shows what it would have done."
            />
          )}
        </Read>
      </div>
      <Runs names={names} />
    </>
  );
}

export function Automation() {
  const { id } = useParams({ strict: false }) as { id: string };
  const automation = queries.useQuery('get', '/automations/{id}', { params: { path: { id } } });
  const enable = queries.useMutation('post', '/automations/{id}/enable');
  const disable = queries.useMutation('post', '/automations/{id}/disable');
  const [wrong, setWrong] = useState('');
  const [deleting, setDeleting] = useState(false);
  const [running, setRunning] = useState(false);
  const a = automation.data;
  const turn = async () => {
    setWrong('');
    try {
      await (a?.enabled ? disable : enable).mutateAsync({ params: { path: { id } } });
      await queryClient.invalidateQueries({ predicate: (q) => String(q.queryKey[1]).startsWith('/automations') });
    } catch (error) {
      setWrong(wordsOf(error));
    }
  };
  return (
    <>
      <Head
        title={a?.name ?? 'Automation'}
        crumb={<Link to="/automations">Automations</Link>}
        actions={
          a && (
            <May to="update-automation">
              <Button onClick={() => setRunning(true)}>Run now</Button>
              {running && <RunNow of={a} close={() => setRunning(false)} />}
              <Button variant="default" onClick={turn}>
                {a.enabled ? 'Disable' : 'Enable'}
              </Button>
              <Button variant="default" onClick={() => setDeleting(true)}>
                Delete
              </Button>
              {deleting && <DeleteAutomation of={a} close={() => setDeleting(false)} />}
            </May>
          )
        }
      >
        {a && <Status of={a.enabled ? 'online' : 'unknown'}>{a.enabled ? 'enabled' : 'disabled'}</Status>}
        {wrong && (
          <span className="tone-bad" role="alert">
            {wrong}
          </span>
        )}
      </Head>
      <Read query={automation}>
        {(a) => (
          <>
            <EditAutomation key={a.revision} of={a} />
            <Runs of={a.id} />
          </>
        )}
      </Read>
    </>
  );
}

function DeleteAutomation({ of: a, close }: { of: Automation; close: () => void }) {
  const navigate = useNavigate();
  const remove = queries.useMutation('delete', '/automations/{id}');
  return (
    <Doing
      title={`Delete ${a.name}`}
      button="Delete it"
      danger
      close={close}
      touches="/automation"
      run={async () => {
        await remove.mutateAsync({ params: { path: { id: a.id } } });
        await navigate({ to: '/automations' });
      }}
    >
      <p>
        It reacts to nothing any more, what it waits for is given up, and its runs are forgotten. This cannot be undone;
        to stop it for a while, disable it.
      </p>
    </Doing>
  );
}
