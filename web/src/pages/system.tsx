import { Button } from '@mantine/core';
import { Link, useParams } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { queries, type Schemas } from '../api/client';
import { Bars } from '../ui/bars';
import { barsOf, stepOf, summaryOf } from '../ui/history';
import { Latency } from '../ui/latency';
import { May } from '../ui/may';
import { Card, Facts, Head, Labels, Read } from '../ui/page';
import { duration, percent, plural } from '../ui/span';
import { Status, severity } from '../ui/status';
import { type Column, DataTable, Filters } from '../ui/table';
import { Ago } from '../ui/time';
import { useHistory, WindowPicker } from '../ui/window';
import { Assignments } from './assignments';
import { missingOf } from './completeness';
import { MaintainButton } from './maintain';
import { Marks } from './marks';
import { doubtOf, reasonOf, wordOf } from './reason';
import { DeleteSystem } from './system-editor';

type CheckStatus = Schemas['CheckStatus'];
type History = Schemas['History'];

const placeOf = (checkId: string, at: { satelliteId?: string; environmentId?: string }) =>
  `${checkId}/${at.satelliteId}/${at.environmentId ?? ''}`;

export function System() {
  const { id } = useParams({ strict: false }) as { id: string };
  const path = { params: { path: { id } } };
  const status = queries.useQuery('get', '/systems/{id}/status', path);
  const system = queries.useQuery('get', '/systems/{id}', path);
  const completeness = queries.useQuery('get', '/systems/{id}/completeness', path);
  const places = useHistory({ path: '/systems/{id}/history', id }, 'location');
  const total = useHistory({ path: '/systems/{id}/history', id });
  const incidents = queries.useQuery('get', '/incidents', {});
  const s = status.data;
  const open = (incidents.data?.items ?? []).filter(
    (i) => s && !i.resolvedAt && (i.systems ?? []).includes(s.systemId),
  );
  return (
    <>
      <Head
        title={s?.system ?? 'System'}
        crumb={<Link to="/systems">Systems</Link>}
        actions={
          s &&
          system.data && (
            <May to="update-system">
              <Actions of={system.data} />
            </May>
          )
        }
      >
        {s && <Status of={s.status} />}
        {s?.since && (
          <span className="quiet">
            <Ago at={s.since} phrase="for" />
          </span>
        )}
      </Head>
      <Read query={status}>
        {(s) => (
          <>
            {reasonOf(s) && (
              <p className="reason" style={{ marginBottom: '0.9rem' }}>
                {reasonOf(s)}
              </p>
            )}
            {open.map((i) => (
              <p key={i.id} style={{ marginBottom: '0.9rem' }}>
                <Status of={i.severity}>{i.severity} incident</Status>{' '}
                <Link to="/incidents/$id" params={{ id: i.id }}>
                  {i.title}
                </Link>{' '}
                <span className="quiet">
                  opened <Ago at={i.openedAt} />
                </span>
              </p>
            ))}
            <div className="row" style={{ marginBottom: '0.75rem' }}>
              <WindowPicker />
              {places.data && (
                <span className="quiet small">
                  in steps of {places.data.step === 'hour' ? 'an' : 'a'} {places.data.step}
                </span>
              )}
            </div>
            <LocationFilters of={s} />
            {(s.checks ?? []).map((check) => (
              <CheckCard key={check.checkId} check={check} system={s} history={places.data} />
            ))}
            {s.totalChecks === 0 && (
              <p className="notice">
                No check is assigned to this system, so nothing is known of it.{' '}
                <Link to="/checks/new" search={{ system: s.system } as never}>
                  Create one
                </Link>
                , or assign one below.
              </p>
            )}
          </>
        )}
      </Read>
      {s && <Assignments system={s.system} />}
      <div className="columns" hidden={!s && !!status.error}>
        <Card title="Latency of all checks">
          <Read query={total}>{(h) => <Latency of={h} what={s?.system ?? 'the system'} />}</Read>
        </Card>
        <Card title="About">
          <Read query={system}>
            {(sys) => (
              <Facts
                of={[
                  ['Description', sys.description || null],
                  ['Labels', Object.keys(sys.labels ?? {}).length ? <Labels of={sys.labels} /> : null],
                  [
                    'Depends on',
                    sys.dependsOn?.length
                      ? sys.dependsOn.map((name, i) => (
                          <span key={name}>
                            {i > 0 && ', '}
                            <Link to="/systems/$id" params={{ id: sys.dependsOnIds?.[i] ?? name }}>
                              {name}
                            </Link>
                          </span>
                        ))
                      : null,
                  ],
                  ['Environments', sys.environments?.length ? sys.environments.map((e) => e.name).join(', ') : null],
                  [
                    'Completeness, last day',
                    completeness.data && completeness.data.completeness !== null
                      ? `${percent(completeness.data.completeness)} of ${plural(missingOf(completeness.data).expected, 'run')} measured`
                      : null,
                  ],
                  [
                    'Id',
                    <span key="id" className="mono">
                      {sys.id}
                    </span>,
                  ],
                ]}
              />
            )}
          </Read>
        </Card>
      </div>
    </>
  );
}

function Actions({ of: s }: { of: Schemas['System'] }) {
  const [deleting, setDeleting] = useState(false);
  return (
    <>
      <MaintainButton system={s.name} />
      <Button variant="default" component={Link} to={`/systems/${s.id}/edit`}>
        Edit
      </Button>
      <Button variant="default" onClick={() => setDeleting(true)}>
        Delete
      </Button>
      {deleting && <DeleteSystem of={s} close={() => setDeleting(false)} />}
    </>
  );
}

/** One check of the system: its verdict, on whose word, and every place that it rests on. */
function CheckCard({
  check,
  system,
  history,
}: {
  check: CheckStatus;
  system: Schemas['SystemStatus'];
  history?: History;
}) {
  const columns = useMemo(() => columnsOf(check, history), [check, history]);
  const verdicts = check.environments ?? [check];
  return (
    <Card
      title={
        <span className="row">
          <Status of={check.status} />
          <Link to="/checks/$id" params={{ id: check.checkId }} search={{ system: system.systemId } as never}>
            {check.check}
          </Link>
          <Marks of={check} />
          {check.maintenance && <span className="label">in maintenance</span>}
        </span>
      }
      aside={
        check.verdictId && (
          <Link to="/checks/$id/evidence/$verdict" params={{ id: check.checkId, verdict: check.verdictId }}>
            evidence
          </Link>
        )
      }
      pad={false}
    >
      <div className="body">
        {check.reason && <p className="reason">{check.reason}</p>}
        {verdicts.map((v) => {
          const said = wordOf(v);
          const where = 'environment' in v ? v.environment || 'no environment' : '';
          if (!said && !where) return null;
          return (
            <p key={where} className="small">
              {where && (
                <>
                  <Status of={v.status} quiet /> in {where}
                  {said ? ': ' : ' '}
                </>
              )}
              {said}{' '}
              {where && v.verdictId && (
                <Link to="/checks/$id/evidence/$verdict" params={{ id: check.checkId, verdict: v.verdictId }}>
                  evidence
                </Link>
              )}
            </p>
          );
        })}
      </div>
      <DataTable
        label={`What is measured of ${check.check}`}
        noun="location"
        name="at"
        filters={false}
        columns={columns}
        rows={check.locations ?? []}
        id={(at) => placeOf(check.checkId, at)}
        empty="It runs nowhere: its assignment picks no satellite that can run it. Edit it below to see which and why not."
      />
    </Card>
  );
}

type Location = Schemas['LocationStatus'];

/** One search over the locations of all checks, when there are several. */
function LocationFilters({ of: s }: { of: Schemas['SystemStatus'] }) {
  const checks = s.checks ?? [];
  const columns = useMemo(() => (checks[0] ? columnsOf(checks[0]) : []), [checks[0]]);
  const rows = checks.flatMap((check) => check.locations ?? []);
  if (rows.length < 2) return null;
  return (
    <div className="card">
      <Filters label="Locations" noun="location" name="at" columns={columns} rows={rows} />
    </div>
  );
}

const columnsOf = (check: CheckStatus, history?: History): Column<Location>[] => {
  const series = new Map((history?.series ?? []).map((one) => [placeOf(one.checkId ?? '', one), one]));
  return [
    {
      key: 'satellite',
      title: 'Satellite',
      value: (at) => at.satellite,
      text: (at) => [at.satellite, at.region, at.environment].join(' '),
      cell: (at) => (
        <span className="text">
          <Link to="/satellites/$id" params={{ id: at.satelliteId }}>
            {at.satellite}
          </Link>{' '}
          <span className="quiet small">{[at.region, at.environment].filter(Boolean).join(' · ')}</span>
        </span>
      ),
    },
    {
      key: 'status',
      title: 'Status',
      value: (at) => severity(at.status),
      text: (at) => `${at.status} ${at.flapping ? 'flapping' : ''}`,
      kinds: (at) => [at.status],
      cell: (at) => (
        <>
          <Status of={at.status} />
          {at.flapping && <span className="quiet small"> flapping</span>}
        </>
      ),
    },
    {
      key: 'message',
      title: 'Message',
      value: (at) =>
        at.inconclusive ? `observer ill: ${at.inconclusive}` : at.refused ? `not measured: ${at.refused}` : at.message,
      cell: (at) => (
        <span className="reason">
          {at.inconclusive
            ? `observer ill: ${at.inconclusive}`
            : at.refused
              ? `not measured: ${at.refused}`
              : at.message}
        </span>
      ),
    },
    {
      key: 'latency',
      title: 'Latency',
      number: true,
      value: (at) => at.latencyMs,
      cell: (at) => duration(at.latencyMs),
    },
    {
      key: 'result',
      title: 'Result',
      newestFirst: true,
      value: (at) => (at.receivedAt ? Date.parse(at.receivedAt) : null),
      text: doubtOf,
      cell: (at) => (
        <>
          {at.receivedAt ? <Ago at={at.receivedAt} /> : <span className="quiet">none yet</span>}
          {doubtOf(at) && <div className="quiet small">{doubtOf(at)}</div>}
        </>
      ),
    },
    {
      key: 'history',
      title: 'Over time',
      width: '32%',
      value: (at) => series.get(placeOf(check.checkId, at))?.total.availability,
      cell: (at) => {
        const one = series.get(placeOf(check.checkId, at));
        if (!one || !history) return null;
        const [from, to] = [Date.parse(history.from), Date.parse(history.to)];
        return (
          <>
            <Bars
              from={from}
              to={to}
              bars={barsOf(one.buckets ?? [], from, to, stepOf(history.step))}
              label={`${check.check} from ${at.satellite}: ${summaryOf(one.total)}`}
            />
            <span className="quiet small">{summaryOf(one.total)}</span>
          </>
        );
      },
    },
  ];
};
