import { Button } from '@mantine/core';
import { Link, useParams } from '@tanstack/react-router';
import { useState } from 'react';
import { queries, type Schemas } from '../api/client';
import { Bars } from '../ui/bars';
import { barsOf, stepOf, summaryOf } from '../ui/history';
import { Latency } from '../ui/latency';
import { May } from '../ui/may';
import { Card, Facts, Head, Labels, Read } from '../ui/page';
import { duration, percent, plural } from '../ui/span';
import { Status } from '../ui/status';
import { Ago } from '../ui/time';
import { useHistory, WindowPicker } from '../ui/window';
import { Assignments } from './assignments';
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
              {places.data && <span className="quiet small">measured by the {places.data.step}</span>}
            </div>
            {(s.checks ?? []).map((check) => (
              <CheckCard key={check.checkId} check={check} system={s} history={places.data} />
            ))}
            {s.totalChecks === 0 && (
              <p className="notice">
                No check is assigned to this system, so nothing is known of it.{' '}
                <Link to="/checks/new" search={{ system: s.system } as never}>
                  Make one
                </Link>
                , or assign one below.
              </p>
            )}
          </>
        )}
      </Read>
      {s && <Assignments system={s.system} />}
      <div className="columns">
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
                      ? `${percent(completeness.data.completeness)} of ${plural(completeness.data.due, 'run')} measured`
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
  const series = new Map((history?.series ?? []).map((one) => [placeOf(one.checkId ?? '', one), one]));
  const locations = check.locations ?? [];
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
      <div className="scroll">
        <table className="data" aria-label={`What is measured of ${check.check}`}>
          <thead>
            <tr>
              <th scope="col">Satellite</th>
              <th scope="col">Status</th>
              <th scope="col">Message</th>
              <th scope="col" className="number">
                Latency
              </th>
              <th scope="col">Result</th>
              <th scope="col" style={{ width: '32%' }}>
                Over time
              </th>
            </tr>
          </thead>
          <tbody>
            {locations.map((at) => {
              const one = series.get(placeOf(check.checkId, at));
              return (
                <tr key={placeOf(check.checkId, at)}>
                  <td>
                    <Link to="/satellites/$id" params={{ id: at.satelliteId }}>
                      {at.satellite}
                    </Link>{' '}
                    <span className="quiet small">{[at.region, at.environment].filter(Boolean).join(' · ')}</span>
                  </td>
                  <td>
                    <Status of={at.status} />
                    {at.flapping && <span className="quiet small"> flapping</span>}
                  </td>
                  <td className="reason">{at.inconclusive ? `observer ill: ${at.inconclusive}` : at.message}</td>
                  <td className="number">{duration(at.latencyMs)}</td>
                  <td>
                    {at.receivedAt ? <Ago at={at.receivedAt} /> : <span className="quiet">none yet</span>}
                    {doubtOf(at) && <div className="quiet small">{doubtOf(at)}</div>}
                  </td>
                  <td>
                    {one && history && (
                      <>
                        <Bars
                          from={Date.parse(history.from)}
                          to={Date.parse(history.to)}
                          bars={barsOf(
                            one.buckets ?? [],
                            Date.parse(history.from),
                            Date.parse(history.to),
                            stepOf(history.step),
                          )}
                          label={`${check.check} from ${at.satellite}: ${summaryOf(one.total)}`}
                        />
                        <span className="quiet small">{summaryOf(one.total)}</span>
                      </>
                    )}
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </Card>
  );
}
