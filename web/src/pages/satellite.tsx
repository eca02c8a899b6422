import { Button, Menu } from '@mantine/core';
import { Link, useNavigate, useParams } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { queries, queryClient, type Schemas, useAll, wordsOf } from '../api/client';
import { May } from '../ui/may';
import { Card, Facts, Head, Labels, Read } from '../ui/page';
import { bytes, duration, plural } from '../ui/span';
import { Status, severity } from '../ui/status';
import { type Column, DataTable } from '../ui/table';
import { Ago, Moment } from '../ui/time';
import { PLACED } from './assignments';
import { DeleteSatellite, EditSatellite, RotateSatellite } from './satellite-change';
import { ConnectionCard } from './satellite-connection';
import { Condition, unheardOf } from './satellites';

type Satellite = Schemas['Satellite'];

export function Satellite() {
  const { id } = useParams({ strict: false }) as { id: string };
  const satellite = queries.useQuery('get', '/satellites/{id}', { params: { path: { id } } });
  const s = satellite.data;
  return (
    <>
      <Head
        title={s?.name ?? 'Satellite'}
        crumb={<Link to="/satellites">Satellites</Link>}
        actions={
          s && (
            <May to="update-satellite">
              <Actions of={s} />
            </May>
          )
        }
      >
        {s && <Condition of={s} />}
        {s?.region && <span className="quiet">in {s.region}</span>}
        {s?.draining ? (
          <span className="label">draining</span>
        ) : (
          s?.cordonedAt && <span className="label">cordoned</span>
        )}
      </Head>
      <Read query={satellite}>{(s) => <Details of={s} />}</Read>
    </>
  );
}

function Actions({ of: s }: { of: Satellite }) {
  const [open, setOpen] = useState<'' | 'edit' | 'rotate' | 'delete'>('');
  const [wrong, setWrong] = useState('');
  const navigate = useNavigate();
  const path = { params: { path: { id: s.id } } };
  const cordon = queries.useMutation('post', '/satellites/{id}/cordon');
  const drain = queries.useMutation('post', '/satellites/{id}/drain');
  const uncordon = queries.useMutation('post', '/satellites/{id}/uncordon');
  const act = (what: { mutateAsync: (v: typeof path) => Promise<unknown> }) => async () => {
    setWrong('');
    try {
      await what.mutateAsync(path);
      await queryClient.invalidateQueries({ queryKey: ['get', '/satellites/{id}'] });
    } catch (error) {
      setWrong(wordsOf(error));
    }
  };
  return (
    <>
      {wrong && (
        <span className="tone-bad" role="alert">
          {wrong}
        </span>
      )}
      <Button variant="default" onClick={() => setOpen('edit')}>
        Edit
      </Button>
      <Button variant="default" onClick={() => setOpen('rotate')}>
        Rotate token
      </Button>
      <Menu position="bottom-end">
        <Menu.Target>
          <Button variant="default">More</Button>
        </Menu.Target>
        <Menu.Dropdown>
          {s.cordonedAt ? (
            <Menu.Item onClick={act(uncordon)}>Uncordon: give it seats again</Menu.Item>
          ) : (
            <Menu.Item onClick={act(cordon)}>Cordon: give it no new seats</Menu.Item>
          )}
          {!s.draining && <Menu.Item onClick={act(drain)}>Drain: move its seats away</Menu.Item>}
          <Menu.Divider />
          <Menu.Item color="red" onClick={() => setOpen('delete')}>
            Delete…
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
      {open === 'edit' && <EditSatellite of={s} close={() => setOpen('')} />}
      {open === 'rotate' && <RotateSatellite of={s} close={() => setOpen('')} />}
      {open === 'delete' && (
        <DeleteSatellite of={s} close={() => setOpen('')} gone={() => void navigate({ to: '/satellites' })} />
      )}
    </>
  );
}

// What is known of a satellite only by its own word.
const SAID = ['Last heard', 'Clock', 'Its own health', 'Waiting to be sent', 'Revision'];

function Details({ of: s }: { of: Satellite }) {
  const ill = s.observer?.ill ?? [];
  const never = s.lastConnectionEvent === null;
  const assignments = useAll('/assignments');
  const checks = new Map((assignments.data ?? []).map((a) => [a.checkId, a.check]));
  const systems = new Map((assignments.data ?? []).map((a) => [a.systemId, a.system]));
  return (
    <>
      {s.duplicateUntil && (
        <p className="lost">
          Two processes use the credentials of this satellite. The one that is connected stays; others are held off for
          now.
        </p>
      )}
      {ill.length > 0 && (
        <p style={{ marginBottom: '0.9rem' }}>
          <Status of="ill">It is ill itself</Status>{' '}
          {s.illSince && (
            <span className="quiet">
              <Ago at={s.illSince} phrase="for" />
            </span>
          )}
          : {ill.map((i) => `${i.kind}${i.detail ? ` (${i.detail})` : ''}`).join(', ')}. Failures that this explains
          count as inconclusive.
        </p>
      )}
      <ConnectionCard of={s} />
      <div className="halves">
        <Card title={s.status === 'online' ? 'Now' : never ? 'Not connected yet' : 'When it was last heard'}>
          {never && (
            <p style={{ marginBottom: '0.6rem' }}>
              What it says of itself stands here when it has connected: run its command where it shall check from.
              <May to="update-satellite"> “Rotate token” gives the command again, with a new token.</May>
            </p>
          )}
          <Facts
            of={
              [
                ['Last heard', s.lastHeartbeatAt ? <Ago key="h" at={s.lastHeartbeatAt} /> : unheardOf(s)],
                [
                  'Counts as offline after',
                  `${duration(s.offlineThresholdMs || 45_000)}${s.offlineThresholdMs ? '' : ', the default'}`,
                ],
                ['Clock', <Clock key="c" of={s} />],
                [
                  'Its own health',
                  ill.length ? (
                    <Status key="i" of="ill" />
                  ) : s.status === 'online' ? (
                    <Status key="w" of="healthy">
                      well
                    </Status>
                  ) : (
                    <Status key="u" of="unknown">
                      unknown: it is offline
                    </Status>
                  ),
                ],
                [
                  'Waiting to be sent',
                  s.pulse
                    ? [
                        plural(s.pulse.spoolRecords ?? 0, 'result'),
                        s.pulse.spoolBytes && `${bytes(s.pulse.spoolBytes)} on its disk`,
                        s.pulse.spoolDropped && `${s.pulse.spoolDropped} dropped`,
                      ]
                        .filter(Boolean)
                        .join(', ')
                    : null,
                ],
                ['Revision', <Revision key="r" of={s} />],
                ['Packages', <Packages key="p" id={s.id} />],
                ['Seats', `${s.seats}${s.draining ? ', being moved away' : s.cordonedAt ? ', no new ones' : ''}`],
              ].filter(([what]) => !never || !SAID.includes(what as string)) as [React.ReactNode, React.ReactNode][]
            }
          />
        </Card>
        <Card title="About">
          <Facts
            of={[
              ['Labels', Object.keys(s.tags ?? {}).length ? <Labels key="l" of={s.tags} /> : null],
              ['Version', s.version],
              [
                'Host',
                s.inventory
                  ? [s.inventory.hostname, s.inventory.os, s.inventory.arch].filter(Boolean).join(', ')
                  : null,
              ],
              [
                'Strategies',
                s.inventory?.strategies?.map((n) => n.replace(/^healthcheck-/, '').replace(/\..*/, '')).join(', ') ||
                  null,
              ],
              ['Weight', s.weight],
              [
                'Token',
                <>
                  {s.tokenExpiresAt ? (
                    <>
                      expires <Ago at={s.tokenExpiresAt} phrase="in" />
                    </>
                  ) : (
                    'does not expire'
                  )}
                  {s.tokenLastUsedAt ? (
                    <>
                      , last used <Ago at={s.tokenLastUsedAt} />
                    </>
                  ) : (
                    ', never used'
                  )}
                </>,
              ],
              ...(s.previousTokenValidUntil
                ? ([
                    [
                      'Previous token',
                      <>
                        valid until <Moment at={s.previousTokenValidUntil} />
                        {s.previousTokenInUse ? ', still in use' : ', not in use'}
                      </>,
                    ],
                  ] as [string, React.ReactNode][])
                : []),
              ['Created', <Moment key="m" at={s.createdAt} />],
              [
                'Id',
                <span key="id" className="mono">
                  {s.id}
                </span>,
              ],
            ]}
          />
        </Card>
      </div>
      {(s.appliedErrors ?? []).length > 0 && (
        <Card title="What it cannot run">
          <ul>
            {(s.appliedErrors ?? []).map((e) => (
              <li key={`${e.configId}/${e.systemId}`}>
                <Link to="/checks/$id" params={{ id: e.configId }}>
                  {checks.get(e.configId) ?? 'a check'}
                </Link>{' '}
                of{' '}
                <Link to="/systems/$id" params={{ id: e.systemId }}>
                  {systems.get(e.systemId) ?? 'a system'}
                </Link>
                : {e.message}
              </li>
            ))}
          </ul>
        </Card>
      )}
      <Assignments of={s} />
      <RecentRuns of={s} />
    </>
  );
}

function Clock({ of: { pulse, observer } }: { of: Satellite }) {
  if (pulse?.offsetMs === undefined) return <Status of="unknown">unknown: it has not said</Status>;
  const off = pulse.offsetMs;
  const words =
    Math.abs(off) < 0.5 ? 'as the core’s' : `${duration(Math.abs(off))} ${off < 0 ? 'ahead of' : 'behind'} the core’s`;
  return (
    <>
      {observer?.clockSkewed && <Status of="degraded">skewed</Status>} {words}, ± {duration(pulse.uncertaintyMs ?? 0)}
    </>
  );
}

function Revision({ of: s }: { of: Satellite }) {
  if (s.appliedRevision === null)
    return (
      <>
        {s.desiredRevision} <span className="quiet">(it does not say what it has applied)</span>
      </>
    );
  if (s.appliedRevision === s.desiredRevision) return <>{s.desiredRevision}, applied</>;
  return (
    <Status of="degraded">
      {s.appliedRevision}, should be {s.desiredRevision}
    </Status>
  );
}

function Packages({ id }: { id: string }) {
  const states = useAll('/packages/satellites');
  const mine = states.data?.find((p) => p.satelliteId === id);
  if (!mine) return <span className="quiet">{states.data ? 'none needed' : ''}</span>;
  return (
    <>
      <Status of={mine.status} /> {mine.errorMessage}{' '}
      {mine.syncedAt && (
        <span className="quiet">
          since <Moment at={mine.syncedAt} />
          {mine.lockfileHash && `, tree ${mine.lockfileHash.replace(/^sha\d+[-:]/, '').slice(0, 8)}`}
        </span>
      )}
    </>
  );
}

function Assignments({ of: s }: { of: Satellite }) {
  const all = useAll('/assignments');
  return (
    <Card title="What it checks" pad={false}>
      <Read query={all}>
        {(all) => (
          <DataTable
            label="What it checks"
            noun="assignment"
            name="placed"
            columns={PLACED}
            rows={all.filter((a) => (a.placed ?? []).includes(s.name))}
            id={(a) => a.id}
            sortBy="check"
            empty="It runs nothing. Assign a check to it on the page of the check or of a system."
          />
        )}
      </Read>
    </Card>
  );
}

type Result = Schemas['Run'];

const runColumns = (nameOf: (check: string) => string): Column<Result>[] => [
  {
    key: 'at',
    title: 'When',
    newestFirst: true,
    value: (r) => Date.parse(r.executedAt),
    cell: (r) => <Moment at={r.executedAt} />,
  },
  {
    key: 'check',
    title: 'Check',
    value: (r) => nameOf(r.checkId),
    kinds: (r) => [nameOf(r.checkId)],
    cell: (r) => (
      <Link to="/checks/$id" params={{ id: r.checkId }}>
        {nameOf(r.checkId)}
      </Link>
    ),
  },
  {
    key: 'status',
    title: 'Status',
    value: (r) => severity(statusOf(r)),
    text: statusOf,
    kinds: (r) => [statusOf(r)],
    cell: (r) => <Status of={statusOf(r)} />,
  },
  {
    key: 'latency',
    title: 'Latency',
    number: true,
    value: (r) => r.latencyMs,
    cell: (r) => duration(r.latencyMs),
  },
  {
    key: 'message',
    title: 'Message',
    below: true,
    value: (r) => r.inconclusive || r.message,
    cell: (r) => <span className="reason">{r.inconclusive || r.message}</span>,
  },
];

const statusOf = (r: Result) => (r.inconclusive ? 'inconclusive' : (r.status ?? 'unknown'));

function RecentRuns({ of: s }: { of: Satellite }) {
  const runs = queries.useQuery('get', '/results', { params: { query: { satellite: s.id, limit: 100 } } });
  const checks = useAll('/checks');
  const columns = useMemo(() => {
    const names = new Map((checks.data ?? []).map((c) => [c.id, c.name]));
    return runColumns((id) => names.get(id) ?? (checks.data ? 'deleted' : ''));
  }, [checks.data]);
  return (
    <Card title="Recent runs" pad={false}>
      <Read query={runs}>
        {(list) => (
          <DataTable
            label="Recent runs"
            noun="run"
            name="runs"
            columns={columns}
            rows={list.items ?? []}
            id={(r) => r.runId}
            sortBy="-at"
            tall
            empty="It has sent no result yet."
          />
        )}
      </Read>
    </Card>
  );
}
