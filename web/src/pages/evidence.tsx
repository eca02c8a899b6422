import { Link, useParams } from '@tanstack/react-router';
import { useMemo } from 'react';
import { queries, type Schemas } from '../api/client';
import { Card, Facts, Head, Read } from '../ui/page';
import { duration } from '../ui/span';
import { Status, severity } from '../ui/status';
import { type Column, DataTable } from '../ui/table';
import { Moment } from '../ui/time';
import { FAULTS } from './reason';
import { groupsOf } from './recent';

/** A verdict with everything that it was reached from, as it was at that moment. */
export function Evidence() {
  const { id, verdict } = useParams({ strict: false }) as { id: string; verdict: string };
  const evidence = queries.useQuery('get', '/checks/{id}/evidence/{verdict}', { params: { path: { id, verdict } } });
  const judged = evidence.data;
  return (
    <>
      <Head
        title="Evidence"
        crumb={
          judged ? (
            <>
              <Link to="/systems/$id" params={{ id: judged.verdict.systemId }}>
                {judged.evidence.system.name}
              </Link>{' '}
              ›{' '}
              <Link to="/checks/$id" params={{ id: judged.verdict.checkId }}>
                {judged.evidence.check.name}
              </Link>
            </>
          ) : (
            <Link to="/checks">Checks</Link>
          )
        }
      >
        {judged && <Status of={judged.verdict.status} />}
      </Head>
      <Read query={evidence}>{(judged) => <Judged judged={judged} />}</Read>
    </>
  );
}

function Judged({ judged: { verdict: v, evidence: e } }: { judged: Schemas['VerdictJudged'] }) {
  const columns = useMemo(
    () => runColumns(new Map((e.seats ?? []).map((s) => [s.satelliteId, s.satellite]))),
    [e.seats],
  );
  const quorum = e.applied.quorum;
  const quorumWords =
    quorum?.kind === 'count'
      ? `${quorum.count} locations`
      : quorum?.kind === 'share'
        ? `${quorum.share} % of locations`
        : (quorum?.kind ?? 'worst');
  return (
    <>
      <Card title="The verdict">
        <Facts
          of={[
            ['Status', <Status key="s" of={v.status} />],
            [
              'Why',
              <span key="r" className="reason">
                {v.reason}
              </span>,
            ],
            ['Where the fault lies', FAULTS[v.class] ?? null],
            ['On the word of', v.word || null],
            ['From', <Moment key="f" at={v.at} />],
            ['Until', v.until ? <Moment key="u" at={v.until} /> : 'it holds'],
            ['Environment', e.environment?.name || null],
            ['Assignment', e.assignment.name],
            ['Quorum', quorumWords],
            [
              'Thresholds',
              e.applied.thresholds
                ? `unhealthy after ${e.applied.thresholds.unhealthy ?? 1}, degraded after ${e.applied.thresholds.degraded ?? 1}, recovers after ${e.applied.thresholds.recovery ?? 1}`
                : null,
            ],
          ]}
        />
      </Card>
      {e.opinion && (
        <Card title="Second opinion">
          <p>
            Held at <Moment at={e.opinion.heldAt} />: {e.opinion.state}
            {e.opinion.none ? ` (${e.opinion.none})` : ''}
          </p>
          <ul>
            {(e.opinion.answers ?? []).map((a) => (
              <li key={a.satelliteId}>
                {a.satellite} <span className="quiet">({a.domain})</span>:{' '}
                {a.void ? a.void : a.status ? <Status of={a.status} quiet /> : 'has not answered'} {a.message}
              </li>
            ))}
          </ul>
        </Card>
      )}
      <Card title="What each location said" pad={false}>
        <DataTable
          label="What each location said"
          noun="location"
          name="said"
          columns={SEATS}
          rows={e.seats ?? []}
          id={(s) => s.satelliteId}
          empty="No location had it then."
        />
      </Card>
      <Card title="The runs that it rests on" pad={false}>
        <DataTable
          label="The runs that it rests on"
          noun="run"
          name="runs"
          columns={columns}
          rows={e.runs ?? []}
          id={(r) => r.runId}
          sortBy="-at"
          empty="Its runs are no longer kept."
        />
      </Card>
    </>
  );
}

type Seat = NonNullable<Schemas['VerdictJudged']['evidence']['seats']>[number];
type Run = NonNullable<Schemas['VerdictJudged']['evidence']['runs']>[number];

const SEATS: Column<Seat>[] = [
  {
    key: 'satellite',
    title: 'Satellite',
    value: (s) => s.satellite,
    text: (s) => `${s.satellite} ${s.region}`,
    cell: (s) => (
      <span className="text">
        <Link to="/satellites/$id" params={{ id: s.satelliteId }}>
          {s.satellite}
        </Link>{' '}
        <span className="quiet small">{[s.region, s.online ? '' : 'offline'].filter(Boolean).join(' · ')}</span>
      </span>
    ),
  },
  {
    key: 'said',
    title: 'Said',
    value: (s) => severity(s.state?.status ?? 'unknown'),
    text: (s) => s.state?.status ?? 'no result yet',
    kinds: (s) => [s.state?.status ?? 'no result yet'],
    cell: (s) => (s.state ? <Status of={s.state.status} /> : <Status of="unknown">no result yet</Status>),
  },
  {
    key: 'message',
    title: 'Message',
    value: (s) => (s.blind ? `observer ill: ${s.blind.reason}` : s.message),
    cell: (s) => <span className="reason">{s.blind ? `observer ill: ${s.blind.reason}` : s.message}</span>,
  },
  { key: 'latency', title: 'Latency', number: true, value: (s) => s.latencyMs, cell: (s) => duration(s.latencyMs) },
  {
    key: 'received',
    title: 'Result received',
    value: (s) => (s.state?.receivedAt ? Date.parse(s.state.receivedAt) : null),
    cell: (s) => s.state?.receivedAt && <Moment at={s.state.receivedAt} />,
    wideOnly: true,
  },
  {
    key: 'recent',
    title: 'Newest results',
    value: (s) => s.state?.recent,
    cell: (s) => <Recent of={s.state?.recent} />,
  },
];

const SHOWN = 2;

/** The newest results in words, and on demand all that the location remembers. */
function Recent({ of = '' }: { of?: string }) {
  const groups = groupsOf(of);
  if (groups.length <= SHOWN) return groups.join(', ');
  return (
    <details>
      <summary>{groups.slice(0, SHOWN).join(', ')}, …</summary>
      <span className="small">before that {groups.slice(SHOWN).join(', ')}</span>
    </details>
  );
}

const statusOf = (r: Run) => (r.inconclusive ? 'inconclusive' : (r.status ?? 'unknown'));

const runColumns = (names: Map<string, string>): Column<Run>[] => [
  {
    key: 'at',
    title: 'Executed',
    newestFirst: true,
    value: (r) => Date.parse(r.executedAt),
    cell: (r) => <Moment at={r.executedAt} />,
  },
  {
    key: 'satellite',
    title: 'Satellite',
    value: (r) => names.get(r.satelliteId) ?? r.satelliteId,
    kinds: (r) => [names.get(r.satelliteId) ?? r.satelliteId],
  },
  {
    key: 'status',
    title: 'Status',
    value: (r) => severity(statusOf(r)),
    text: statusOf,
    kinds: (r) => [statusOf(r)],
    cell: (r) => <Status of={statusOf(r)} />,
  },
  { key: 'latency', title: 'Latency', number: true, value: (r) => r.latencyMs, cell: (r) => duration(r.latencyMs) },
  {
    key: 'message',
    title: 'Message',
    value: (r) => r.inconclusive || r.message,
    cell: (r) => <span className="reason">{r.inconclusive || r.message}</span>,
  },
  {
    key: 'run',
    title: 'Run',
    value: (r) => r.runId,
    cell: (r) => <span className="mono small">{r.runId}</span>,
    wideOnly: true,
  },
];
