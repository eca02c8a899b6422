import { Link, useParams } from '@tanstack/react-router';
import { queries, type Schemas } from '../api/client';
import { Card, Facts, Head, Read } from '../ui/page';
import { duration } from '../ui/span';
import { Status } from '../ui/status';
import { Moment } from '../ui/time';
import { FAULTS } from './reason';

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
          judged && (
            <>
              <Link to="/systems/$id" params={{ id: judged.verdict.systemId }}>
                {judged.evidence.system.name}
              </Link>{' '}
              ›{' '}
              <Link to="/checks/$id" params={{ id: judged.verdict.checkId }}>
                {judged.evidence.check.name}
              </Link>
            </>
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
  const names = new Map((e.seats ?? []).map((s) => [s.satelliteId, s.satellite]));
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
        <div className="scroll">
          <table className="data">
            <thead>
              <tr>
                <th scope="col">Satellite</th>
                <th scope="col">Said</th>
                <th scope="col">Message</th>
                <th scope="col" className="number">
                  Latency
                </th>
                <th scope="col">Result received</th>
                <th scope="col">Newest results</th>
              </tr>
            </thead>
            <tbody>
              {(e.seats ?? []).map((seat) => (
                <tr key={seat.satelliteId}>
                  <td>
                    <Link to="/satellites/$id" params={{ id: seat.satelliteId }}>
                      {seat.satellite}
                    </Link>{' '}
                    <span className="quiet small">
                      {[seat.region, seat.online ? '' : 'offline'].filter(Boolean).join(' · ')}
                    </span>
                  </td>
                  <td>
                    {seat.state ? <Status of={seat.state.status} /> : <Status of="unknown">no result yet</Status>}
                  </td>
                  <td className="reason">{seat.blind ? `observer ill: ${seat.blind.reason}` : seat.message}</td>
                  <td className="number">{duration(seat.latencyMs)}</td>
                  <td>{seat.state?.receivedAt && <Moment at={seat.state.receivedAt} />}</td>
                  <td className="mono">{seat.state?.recent}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </Card>
      <Card title="The runs that it rests on" pad={false}>
        <div className="scroll">
          <table className="data">
            <thead>
              <tr>
                <th scope="col">Executed</th>
                <th scope="col">Satellite</th>
                <th scope="col">Status</th>
                <th scope="col" className="number">
                  Latency
                </th>
                <th scope="col">Message</th>
                <th scope="col">Run</th>
              </tr>
            </thead>
            <tbody>
              {(e.runs ?? []).map((run) => (
                <tr key={run.runId}>
                  <td>
                    <Moment at={run.executedAt} />
                  </td>
                  <td>{names.get(run.satelliteId) ?? run.satelliteId}</td>
                  <td>
                    <Status of={run.inconclusive ? 'inconclusive' : run.status} />
                  </td>
                  <td className="number">{duration(run.latencyMs)}</td>
                  <td className="reason">{run.inconclusive || run.message}</td>
                  <td className="mono small">{run.runId}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
        {(e.runs ?? []).length === 0 && <p className="notice">Its runs are no longer kept.</p>}
      </Card>
    </>
  );
}
