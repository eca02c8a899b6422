import { Button, Select } from '@mantine/core';
import { Link, useNavigate, useParams } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { api, queries, queryClient, type Schemas, useAll, wordsOf } from '../api/client';
import { Bars } from '../ui/bars';
import { Doing } from '../ui/form';
import { barsOf, stepOf, summaryOf } from '../ui/history';
import { Latency } from '../ui/latency';
import { May } from '../ui/may';
import { Card, Facts, Head, Labels, Read } from '../ui/page';
import { PhaseChart, phasedOf } from '../ui/phases';
import { duration, plural } from '../ui/span';
import { Status, severity } from '../ui/status';
import { type Column, DataTable } from '../ui/table';
import { Moment } from '../ui/time';
import { useUrl } from '../ui/url';
import { useHistory, WindowPicker } from '../ui/window';
import { Assignments } from './assignments';
import { sentence } from './check-collectors';
import { Marks } from './marks';
import { shortList } from './system-editor';

type Row = Schemas['Check'] & {
  systems: { id: string; name: string; status: string; reason: string }[];
  status: string;
};

export const strategyOf = (id: string): string => id.replace(/^healthcheck-/, '').replace(/\..*/, '');

const wordOfStatus = (c: Row) => (c.systems.length ? c.status : 'runs nowhere');

const COLUMNS: Column<Row>[] = [
  {
    key: 'status',
    title: 'Status',
    value: (c) => severity(c.status),
    text: wordOfStatus,
    kinds: (c) => [wordOfStatus(c)],
    cell: (c) => <Status of={c.status}>{wordOfStatus(c)}</Status>,
  },
  {
    key: 'name',
    title: 'Check',
    value: (c) => c.name,
    cell: (c) => (
      <Link to="/checks/$id" params={{ id: c.id }}>
        {c.name}
      </Link>
    ),
  },
  {
    key: 'strategy',
    title: 'Strategy',
    value: (c) => strategyOf(c.spec.strategy),
    kinds: (c) => [strategyOf(c.spec.strategy)],
  },
  { key: 'interval', title: 'Every', value: (c) => String(c.spec.interval), wideOnly: true },
  {
    key: 'systems',
    title: 'Systems',
    value: (c) => c.systems.map((s) => s.name).join(', '),
    cell: (c) =>
      c.systems.slice(0, 6).map((s, i) => (
        <span key={s.id}>
          {i > 0 && ', '}
          <Link to="/systems/$id" params={{ id: s.id }}>
            {s.name}
          </Link>
        </span>
      )),
  },
  {
    key: 'why',
    title: 'Why',
    value: (c) => c.systems.find((s) => s.status === c.status && c.status !== 'healthy')?.reason,
    cell: (c) => (
      <span className="reason">{c.systems.find((s) => s.status === c.status && c.status !== 'healthy')?.reason}</span>
    ),
    wideOnly: true,
  },
];

export function Checks() {
  const checks = useAll('/checks');
  const status = queries.useQuery('get', '/status', {});
  const rows = useMemo(() => {
    const byCheck = new Map<string, Row['systems']>();
    for (const s of status.data?.items ?? []) {
      for (const c of s.checks ?? [])
        byCheck.set(c.checkId, [
          ...(byCheck.get(c.checkId) ?? []),
          { id: s.systemId, name: s.system, status: c.status, reason: c.reason },
        ]);
    }
    return (checks.data ?? []).map((c): Row => {
      const systems = byCheck.get(c.id) ?? [];
      const worst = [...systems].sort((a, b) => severity(a.status) - severity(b.status))[0];
      return { ...c, systems, status: worst?.status ?? 'unknown' };
    });
  }, [checks.data, status.data]);
  return (
    <>
      <Head
        title="Checks"
        actions={
          <May to="create-check">
            <Button component={Link} to="/checks/new">
              New check
            </Button>
          </May>
        }
      />
      <div className="card">
        <Read query={checks}>
          {() => (
            <DataTable
              label="Checks"
              noun="check"
              columns={COLUMNS}
              rows={rows}
              id={(c) => c.id}
              sortBy="status"
              empty="No checks yet. A check says what is measured and how often. New check creates one and assigns it."
            />
          )}
        </Read>
      </div>
    </>
  );
}

export function Check() {
  const { id } = useParams({ strict: false }) as { id: string };
  const check = queries.useQuery('get', '/checks/{id}', { params: { path: { id } } });
  const c = check.data;
  return (
    <>
      <Head
        title={c?.name ?? 'Check'}
        crumb={<Link to="/checks">Checks</Link>}
        actions={
          c && (
            <May to="update-check">
              <Actions of={c} />
            </May>
          )
        }
      >
        {c && (
          <span className="quiet">
            {strategyOf(c.spec.strategy)}, every {String(c.spec.interval)}
          </span>
        )}
        {c?.spec.paused && <span className="label">paused</span>}
      </Head>
      <Read query={check}>{(c) => <CheckDetails of={c} />}</Read>
    </>
  );
}

function Actions({ of: c }: { of: Schemas['Check'] }) {
  const [deleting, setDeleting] = useState(false);
  return (
    <>
      <RunNow id={c.id} />
      <Button variant="default" component={Link} to={`/checks/${c.id}/edit`}>
        Edit
      </Button>
      <Button variant="default" onClick={() => setDeleting(true)}>
        Delete
      </Button>
      {deleting && <DeleteCheck of={c} close={() => setDeleting(false)} />}
    </>
  );
}

/** Says what goes with a check before it goes. */
function DeleteCheck({ of: c, close }: { of: Schemas['Check']; close: () => void }) {
  const navigate = useNavigate();
  const remove = queries.useMutation('delete', '/checks/{id}');
  const assignments = useAll('/assignments');
  const mine = (assignments.data ?? []).filter((a) => a.checkId === c.id);
  return (
    <Doing
      title={`Delete ${c.name}`}
      button="Delete it"
      danger
      close={close}
      touches="/"
      run={async () => {
        await remove.mutateAsync({ params: { path: { id: c.id } } });
        await navigate({ to: '/checks' });
      }}
    >
      <p>
        {mine.length > 0
          ? `It is no longer run for ${shortList(mine.map((a) => a.system))}, and ${mine.length === 1 ? 'its assignment goes' : `its ${mine.length} assignments go`} with it.`
          : 'It is assigned nowhere.'}{' '}
        This cannot be undone; to stop it for a while, pause it.
      </p>
    </Doing>
  );
}

const WAITING = new Set(['waiting', 'sent']); // states of a run that is not over
const MOST_WAITS = 6; // of twenty seconds each

type RunRequest = Schemas['RunRequest'];

/** Asks the locations that have the check of a system to run it now, and tells each time more of them have answered. */
async function runOf(id: string, system: string, tell: (runs: RunRequest[]) => void): Promise<void> {
  const { data: made, error } = await api.POST('/checks/{id}/run', { params: { path: { id } }, body: { system } });
  if (!made) throw error;
  let runs = made.runs ?? [];
  const over = () => runs.filter((r) => !WAITING.has(r.state)).length;
  for (let i = 0; ; i++) {
    tell(runs);
    if (over() === runs.length || i === MOST_WAITS) return;
    const { data, error } = await api.GET('/run-requests/{id}', {
      params: { path: { id: made.id }, query: { wait: '20s', over: over() } },
    });
    if (!data) throw error;
    runs = data.runs ?? [];
  }
}

/** Has the check run now for each system that has it, and shows what the locations answer. */
function RunNow({ id }: { id: string }) {
  const assignments = useAll('/assignments');
  const systems = [...new Set((assignments.data ?? []).filter((a) => a.checkId === id).map((a) => a.systemId))];
  const [told, setTold] = useState<Record<string, RunRequest[]> | null>(null);
  const [busy, setBusy] = useState(false);
  const [wrong, setWrong] = useState('');
  const runs = told && Object.values(told).flat();
  const answers = (runs ?? []).flatMap((r) => r.answers ?? []);
  const run = async () => {
    setBusy(true);
    setWrong('');
    setTold({});
    try {
      await Promise.all(
        systems.map((system) => runOf(id, system, (runs) => setTold((all) => ({ ...all, [system]: runs })))),
      );
      await queryClient.invalidateQueries({ queryKey: ['get', '/results'] });
    } catch (error) {
      setWrong(wordsOf(error));
    } finally {
      setBusy(false);
    }
  };
  return (
    <>
      {wrong && (
        <span className="tone-bad" role="alert">
          {wrong}
        </span>
      )}
      {runs && (
        <span role="status">
          {answers.map((a) => (
            <Status key={a.runId} of={a.status ?? 'inconclusive'}>
              {a.status ?? a.skipped ?? 'inconclusive'} {duration(a.latencyMs)}
            </Status>
          ))}
          {answers.length === 0 && (
            <span className="quiet">
              {busy ? `asked ${plural(runs.length, 'location')}…` : runs.map((r) => r.reason ?? r.state).join(', ')}
            </span>
          )}
        </span>
      )}
      <Button variant="default" loading={busy} disabled={systems.length === 0} onClick={run}>
        Run now
      </Button>
    </>
  );
}

const verdictColumns = (check: string, names: Map<string, string>): Column<Schemas['Verdict']>[] => [
  {
    key: 'at',
    title: 'From',
    newestFirst: true,
    value: (v) => Date.parse(v.at),
    cell: (v) => (
      <Link to="/checks/$id/evidence/$verdict" params={{ id: check, verdict: v.id }}>
        <Moment at={v.at} />
      </Link>
    ),
  },
  { key: 'system', title: 'System', value: (v) => names.get(v.systemId) },
  {
    key: 'status',
    title: 'Verdict',
    value: (v) => severity(v.status),
    text: (v) => v.status,
    kinds: (v) => [v.status],
    cell: (v) => <Status of={v.status} />,
  },
  { key: 'why', title: 'Why', value: (v) => v.reason, cell: (v) => <span className="reason">{v.reason}</span> },
];

function CheckDetails({ of: c }: { of: Schemas['Check'] }) {
  const [url] = useUrl();
  const history = useHistory({ path: '/checks/{id}/history', id: c.id }, 'system');
  const total = useHistory({ path: '/checks/{id}/history', id: c.id });
  const status = queries.useQuery('get', '/status', {});
  const verdicts = queries.useQuery('get', '/checks/{id}/verdicts', {
    params: { path: { id: c.id }, query: { limit: 50, ...(url.system ? { system: url.system } : {}) } },
  });
  const systems = (status.data?.items ?? []).flatMap((s) =>
    (s.checks ?? []).filter((k) => k.checkId === c.id).map((k) => ({ ...k, system: s.system, systemId: s.systemId })),
  );
  const names = new Map((status.data?.items ?? []).map((s) => [s.systemId, s.system]));
  const assigned = useAll('/assignments').data?.some((a) => a.checkId === c.id);
  return (
    <>
      <div className="row" style={{ marginBottom: '0.75rem' }}>
        <WindowPicker />
      </div>
      <Card title="Systems" pad={false}>
        {systems.length === 0 && status.data && (
          <p className="notice">
            {assigned
              ? 'It runs nowhere: no satellite that its assignments pick can run it. Edit them below to see which and why not.'
              : 'It runs nowhere: it is assigned to no system. Assign it below.'}
          </p>
        )}
        <ul className="list">
          {systems.map((s) => {
            const one = history.data?.series?.find((h) => h.systemId === s.systemId);
            return (
              <li key={s.systemId}>
                <div className="system-line">
                  <span>
                    <Status of={s.status} /> <Marks of={s} />
                  </span>
                  <Link to="/systems/$id" params={{ id: s.systemId }}>
                    <strong>{s.system}</strong>
                  </Link>
                  <span className="reason">{s.reason}</span>
                  <span className="tail small">
                    {s.verdictId && (
                      <Link to="/checks/$id/evidence/$verdict" params={{ id: c.id, verdict: s.verdictId }}>
                        evidence
                      </Link>
                    )}
                  </span>
                </div>
                {one && history.data && (
                  <div style={{ marginTop: '0.4rem' }}>
                    <Bars
                      from={Date.parse(history.data.from)}
                      to={Date.parse(history.data.to)}
                      bars={barsOf(
                        one.buckets ?? [],
                        Date.parse(history.data.from),
                        Date.parse(history.data.to),
                        stepOf(history.data.step),
                        160,
                      )}
                      label={`${c.name} of ${s.system}: ${summaryOf(one.total)}`}
                    />
                    <span className="quiet small">{summaryOf(one.total)}</span>
                  </div>
                )}
              </li>
            );
          })}
        </ul>
      </Card>
      <Assignments check={c.name} />
      <Card title="Latency">
        <Read query={total}>{(h) => <Latency of={h} what={c.name} />}</Read>
      </Card>
      <PhasesCard check={c} locations={systems.flatMap((s) => s.locations ?? [])} />
      <div className="halves">
        <Card title="Verdicts" pad={false}>
          <Read query={verdicts}>
            {(list) => (
              <DataTable
                label="Verdicts"
                noun="verdict"
                name="verdicts"
                columns={verdictColumns(c.id, names)}
                rows={list.items ?? []}
                id={(v) => v.id}
                empty="It was not judged yet: a verdict follows the first results."
              />
            )}
          </Read>
        </Card>
        <Card title="What is measured">
          <div className="stack">
            <Facts
              of={[
                ['Description', c.spec.description || null],
                ['Labels', Object.keys(c.labels ?? {}).length ? <Labels key="l" of={c.labels} /> : null],
                [
                  'Strategy',
                  <span key="s" className="mono">
                    {c.spec.strategy}
                  </span>,
                ],
                ['Changed', <Moment key="m" at={c.updatedAt} />],
              ]}
            />
            {(c.spec.collectors ?? []).map((collector) => (
              <div key={collector.id}>
                <h3>
                  {collector.id} <span className="quiet mono">{collector.collector}</span>
                </h3>
                <ul>
                  {(collector.assertions ?? []).map((a) => (
                    <li key={sentence(a)} className="reason">
                      {sentence(a)}
                    </li>
                  ))}
                </ul>
                {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
                <pre tabIndex={0}>{JSON.stringify(collector.config ?? {}, null, 2)}</pre>
              </div>
            ))}
          </div>
        </Card>
      </div>
    </>
  );
}

/** How long the phases of its newest runs took, from one place at a time: places are not alike. */
function PhasesCard({ check: c, locations }: { check: Schemas['Check']; locations: Schemas['LocationStatus'][] }) {
  const places = [...new Map(locations.map((at) => [at.satelliteId, at.satellite])).entries()];
  const [chosen, setChosen] = useState<string | null>(null);
  const satellite = chosen ?? places[0]?.[0];
  const runs = queries.useQuery(
    'get',
    '/results',
    { params: { query: { check: c.id, limit: 200, detail: true, ...(satellite ? { satellite } : {}) } } },
    { enabled: places.length > 0 },
  );
  const phased = useMemo(() => phasedOf(runs.data?.items ?? []), [runs.data]);
  if (phased.length === 0 && chosen === null) return null;
  return (
    <Card
      title="Phases of a run"
      aside={
        places.length > 1 && (
          <Select
            size="xs"
            aria-label="Seen from"
            data={places.map(([value, label]) => ({ value, label }))}
            value={satellite}
            allowDeselect={false}
            onChange={setChosen}
          />
        )
      }
    >
      <PhaseChart of={phased} what={c.name} />
    </Card>
  );
}
