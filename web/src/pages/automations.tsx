import { Button } from '@mantine/core';
import { Link, useNavigate, useParams } from '@tanstack/react-router';
import { useState } from 'react';
import { queries, queryClient, type Schemas, useAll, wordsOf } from '../api/client';
import { wordsOfEvent } from '../live/words';
import { Doing } from '../ui/form';
import { May } from '../ui/may';
import { Card, Facts, Head, Read } from '../ui/page';
import { plural, span } from '../ui/span';
import { Status } from '../ui/status';
import { type Column, DataTable } from '../ui/table';
import { Moment } from '../ui/time';
import { EditAutomation } from './automation-editor';

type Automation = Schemas['Automation'];
type Run = Schemas['AutomationRun'];
type Definition = { description?: string; triggers?: { id?: string; event?: string }[]; mode?: string };

const definitionOf = (a: Automation) => (a.definition ?? {}) as Definition;

/** A run's status in the words that have a colour. */
const toneOfRun = (status: string) =>
  ({ success: 'succeeded', failed: 'failed', failure: 'failed', skipped: 'unknown' })[status] ??
  (status === 'error' ? 'failed' : 'unknown');
const RunStatus = ({ of }: { of: string }) => <Status of={toneOfRun(of)}>{of.replaceAll('_', ' ')}</Status>;

const COLUMNS: Column<Automation>[] = [
  {
    key: 'state',
    title: 'State',
    value: (a) => (a.enabled ? 0 : 1),
    cell: (a) => <Status of={a.enabled ? 'online' : 'unknown'}>{a.enabled ? 'enabled' : 'disabled'}</Status>,
  },
  {
    key: 'name',
    title: 'Automation',
    value: (a) => a.name,
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
    value: (a) => -Date.parse(a.updatedAt),
    cell: (a) => <Moment at={a.updatedAt} />,
    wideOnly: true,
  },
];

export function Automations() {
  const all = useAll('/automations');
  const runs = queries.useQuery('get', '/automation-runs', { params: { query: { limit: 50 } } });
  const names = new Map((all.data ?? []).map((a) => [a.id, a.name]));
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
              columns={COLUMNS}
              rows={rows}
              id={(a) => a.id}
              sortBy="name"
              empty="No automations, so nothing reacts to what happens. New automation makes one, and says what it would have done."
            />
          )}
        </Read>
      </div>
      <Card title="Newest runs" pad={false}>
        <Read query={runs}>{(list) => <Runs runs={list.items ?? []} names={names} />}</Read>
      </Card>
    </>
  );
}

function Runs({ runs, names }: { runs: Run[]; names?: Map<string, string> }) {
  if (!runs.length) return <p className="notice">Nothing has run yet.</p>;
  return (
    <div className="scroll">
      <table className="data">
        <thead>
          <tr>
            <th scope="col">Began</th>
            {names && <th scope="col">Automation</th>}
            <th scope="col">Status</th>
            <th scope="col">Because</th>
            <th scope="col">Took</th>
          </tr>
        </thead>
        <tbody>
          {runs.map((r) => (
            <tr key={r.id}>
              <td>
                <Link to="/automation-runs/$id" params={{ id: r.id }}>
                  <Moment at={r.createdAt} />
                </Link>
              </td>
              {names && (
                <td>
                  <Link to="/automations/$id" params={{ id: r.automation }}>
                    {names.get(r.automation) ?? 'deleted'}
                  </Link>
                </td>
              )}
              <td>
                <RunStatus of={r.status} />
              </td>
              <td>
                {r.reason || (
                  <>
                    {r.trigger}: {(r.event && wordsOfEvent(r.event, () => undefined)) || r.event?.type}
                  </>
                )}
              </td>
              <td>{r.startedAt && r.endedAt && span(Date.parse(r.endedAt) - Date.parse(r.startedAt))}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export function Automation() {
  const { id } = useParams({ strict: false }) as { id: string };
  const automation = queries.useQuery('get', '/automations/{id}', { params: { path: { id } } });
  const runs = queries.useQuery('get', '/automation-runs', { params: { query: { automation: id, limit: 50 } } });
  const enable = queries.useMutation('post', '/automations/{id}/enable');
  const disable = queries.useMutation('post', '/automations/{id}/disable');
  const [wrong, setWrong] = useState('');
  const [deleting, setDeleting] = useState(false);
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
            <Card title="Runs" pad={false}>
              <Read query={runs}>{(list) => <Runs runs={list.items ?? []} />}</Read>
            </Card>
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
      <p>It reacts to nothing any more. This cannot be undone; to stop it for a while, disable it.</p>
    </Doing>
  );
}

export function AutomationRun() {
  const { id } = useParams({ strict: false }) as { id: string };
  const run = queries.useQuery('get', '/automation-runs/{id}', { params: { path: { id } } });
  const all = useAll('/automations');
  const r = run.data;
  const name = all.data?.find((a) => a.id === r?.automation)?.name ?? 'an automation';
  const ended = r?.endedAt ? Date.parse(r.endedAt) : null;
  return (
    <>
      <Head
        title={`Run of ${name}`}
        crumb={
          <>
            <Link to="/automations">Automations</Link>{' '}
            {r && (
              <>
                ›{' '}
                <Link to="/automations/$id" params={{ id: r.automation }}>
                  {name}
                </Link>
              </>
            )}
          </>
        }
      >
        {r && <RunStatus of={r.status} />}
      </Head>
      <Read query={run}>
        {(r) => (
          <>
            <Card title="Why it ran">
              <Facts
                of={[
                  ['Because of', (r.event && wordsOfEvent(r.event, () => undefined)) || r.event?.type],
                  ['Trigger', r.trigger],
                  ['Began', <Moment key="b" at={r.createdAt} />],
                  ['Took', ended && r.startedAt ? span(ended - Date.parse(r.startedAt)) : 'it has not ended'],
                  ['Why it ended so', r.reason || null],
                ]}
              />
            </Card>
            <Card title={plural((r.steps ?? []).length, 'step')} pad={false}>
              <ol className="list">
                {(r.steps ?? []).map((s) => (
                  <li key={`${s.path}/${s.attempt}`}>
                    <div className="row">
                      <RunStatus of={s.status} />
                      <strong>{s.action ?? s.kind}</strong> {s.id && <span className="quiet">{s.id}</span>}
                      <span className="mono quiet small">{s.path}</span>
                      {s.attempt > 1 && <span className="quiet">attempt {s.attempt}</span>}
                      <span className="quiet small">
                        <Moment at={s.startedAt} />
                      </span>
                    </div>
                    {s.error && <p className="tone-bad">{s.error}</p>}
                    {(s.input !== undefined || s.output !== undefined) && (
                      <details>
                        <summary className="quiet small">input and output</summary>
                        <pre>{JSON.stringify({ input: s.input, output: s.output }, null, 2)}</pre>
                      </details>
                    )}
                  </li>
                ))}
              </ol>
            </Card>
          </>
        )}
      </Read>
    </>
  );
}
