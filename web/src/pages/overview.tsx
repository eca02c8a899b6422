import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { api, clockAhead, type Problem, queries, type Schemas } from '../api/client';
import { Card, Head, Read } from '../ui/page';
import { percent, plural } from '../ui/span';
import { Status, severity, WORST_FIRST } from '../ui/status';
import { Ago } from '../ui/time';
import { missingOf } from './completeness';
import { Happenings } from './happenings';
import { reasonOf } from './reason';

type SystemStatus = Schemas['SystemStatus'];
const HOUR = 3_600_000;

export function Overview() {
  const status = queries.useQuery('get', '/status', {});
  const regions = queries.useQuery('get', '/regions', {});
  const systems = status.data?.items ?? [];
  return (
    <>
      <Head title="Overview" />
      <div className="tiles">
        {WORST_FIRST.map((of) => {
          const n = systems.filter((s) => s.status === of).length;
          if (!n && (of === 'unknown' || of === 'degraded')) return null;
          return (
            <Link key={of} to="/systems" search={{ status: of } as never} className="tile">
              <Counted of={of} n={n} />
              <strong>{status.data ? n : '–'}</strong>
              <span className="quiet small">{n === 1 ? 'system' : 'systems'}</span>
            </Link>
          );
        })}
        <FleetTiles regions={regions.data?.items ?? []} />
        <IncidentTile />
        <CompletenessTile />
      </div>
      <div className="columns">
        <div>
          <Card title="Systems" aside={<Link to="/systems">all systems</Link>} pad={false}>
            <Read query={status}>{(data) => <SystemLines systems={data.items ?? []} />}</Read>
          </Card>
          <Card title="Regions" aside={<Link to="/satellites">all satellites</Link>} pad={false}>
            <Read query={regions}>{(data) => <Regions regions={data.items ?? []} />}</Read>
          </Card>
        </div>
        <div>
          <Happenings systems={systems} />
        </div>
      </div>
    </>
  );
}

/** Systems that are not well, with the reason; of those that are, how many. */
function SystemLines({ systems }: { systems: SystemStatus[] }) {
  const wrong = systems
    .filter((s) => s.status !== 'healthy')
    .sort((a, b) => severity(a.status) - severity(b.status) || a.system.localeCompare(b.system));
  const well = systems.length - wrong.length;
  if (systems.length === 0) {
    return (
      <p className="notice">
        No systems yet. A system is what you watch; checks and satellites are assigned to it.{' '}
        <Link to="/systems/new">Create the first one</Link>, or many from a file by “perigee apply”.
      </p>
    );
  }
  return (
    <ul className="list">
      {wrong.slice(0, 50).map((s) => (
        <SystemLine key={s.systemId} system={s} />
      ))}
      {wrong.length > 50 && (
        <li>
          <Link to="/systems">and {wrong.length - 50} more</Link>
        </li>
      )}
      {well > 0 && (
        <li className="quiet">
          <Status of="healthy">
            {wrong.length ? `${plural(well, 'other system')} healthy` : `${plural(well, 'system')}, all healthy`}
          </Status>
        </li>
      )}
    </ul>
  );
}

export function SystemLine({ system: s }: { system: SystemStatus }) {
  return (
    <li className="system-line">
      <Status of={s.status} />
      <Link to="/systems/$id" params={{ id: s.systemId }}>
        <strong>{s.system}</strong>
      </Link>
      <span className="reason">{reasonOf(s)}</span>
      <span className="quiet small tail">{s.since && <Ago at={s.since} phrase="for" />}</span>
    </li>
  );
}

type Region = Schemas['Region'];

/** The word of a tile; of nothing it is neither good nor bad news. */
const Counted = ({ of, n }: { of: string; n: number }) => <Status of={n ? of : 'none'}>{of}</Status>;

function FleetTiles({ regions }: { regions: Region[] }) {
  const sum = (of: (r: Region) => number) => regions.reduce((n, r) => n + of(r), 0);
  const total = sum((r) => r.satellites);
  const online = sum((r) => r.online);
  const ill = sum((r) => r.ill);
  const never = sum((r) => r.neverConnected);
  const gone = total - online - never;
  return (
    <>
      <Link to="/satellites" search={{ status: 'online' } as never} className="tile">
        <Counted of="online" n={online} />
        <strong>{online.toLocaleString('en')}</strong>
        <span className="quiet small">of {plural(total, 'satellite')}</span>
      </Link>
      {gone > 0 && (
        <Link to="/satellites" search={{ status: 'offline' } as never} className="tile">
          <Status of="offline" />
          <strong>{(gone + never).toLocaleString('en')}</strong>
          <span className="quiet small">
            {never ? `${never.toLocaleString('en')} of them never connected` : `of ${plural(total, 'satellite')}`}
          </span>
        </Link>
      )}
      {!gone && never > 0 && (
        <Link to="/satellites" search={{ status: 'never connected' } as never} className="tile">
          <Status of="never connected" />
          <strong>{never.toLocaleString('en')}</strong>
          <span className="quiet small">of {plural(total, 'satellite')}</span>
        </Link>
      )}
      {ill > 0 && (
        <Link to="/satellites" search={{ status: 'ill' } as never} className="tile">
          <Status of="ill" />
          <strong>{ill.toLocaleString('en')}</strong>
          <span className="quiet small">of {plural(total, 'satellite')}</span>
        </Link>
      )}
    </>
  );
}

/** What people have to deal with now, when there is something. */
function IncidentTile() {
  const { data } = queries.useQuery('get', '/incidents', { params: { query: { open: true, limit: 1000 } } });
  const open = data?.items ?? [];
  if (!open.length) return null;
  const worst = ['critical', 'major', 'minor'].find((of) => open.some((i) => i.severity === of)) ?? 'minor';
  return (
    <Link to="/incidents" className="tile">
      <Status of={worst}>{worst}</Status>
      <strong>{open.length}</strong>
      <span className="quiet small">open {open.length === 1 ? 'incident' : 'incidents'}</span>
    </Link>
  );
}

/** What share of the last hour's runs was measured, over everything. */
function CompletenessTile() {
  const { data } = useQuery<Schemas['CompletenessList'], Problem>({
    queryKey: ['get', '/completeness', { hour: true }],
    queryFn: async ({ signal }) => {
      const from = new Date(Date.now() + clockAhead - HOUR).toISOString();
      const { data, error } = await api.GET('/completeness', { params: { query: { from, limit: 1000 } }, signal });
      if (!data) throw error;
      return data;
    },
    staleTime: 60_000,
  });
  if (!data || data.totals.completeness === null || data.totals.due === 0) return null;
  const { totals } = data;
  const { expected, missing } = missingOf(totals);
  return (
    <div className="tile">
      <span className="quiet">Completeness, last hour</span>
      <strong>{percent(totals.completeness)}</strong>
      <span className="quiet small">
        {missing > 0
          ? `${plural(missing, 'run')} of ${expected.toLocaleString('en')} not measured`
          : `${plural(expected, 'run')}, all measured`}
      </span>
    </div>
  );
}

function Regions({ regions }: { regions: Region[] }) {
  if (!regions.length) {
    return (
      <p className="notice">
        No satellites yet.{' '}
        <Link to="/satellites" search={{ create: '1' } as never}>
          Create the first one
        </Link>
        : it dials out to this core, from wherever it stands.
      </p>
    );
  }
  return (
    <div className="regions">
      {regions.map((r) => {
        const offline = r.satellites - r.online;
        const tone =
          r.online === 0 ? (r.neverConnected === r.satellites ? 'none' : 'bad') : offline || r.ill ? 'warn' : 'good';
        const words = [
          `${r.online} online`,
          offline && `${offline} offline`,
          r.ill && `${r.ill} ill`,
          r.cordoned && `${r.cordoned} cordoned`,
        ].filter(Boolean);
        return (
          <Link
            key={r.region}
            to="/satellites"
            search={{ region: r.region } as never}
            className={`region tone-${tone}`}
          >
            <strong>{r.region || 'no region'}</strong>
            <div className="small quiet">{words.join(', ')}</div>
          </Link>
        );
      })}
    </div>
  );
}
