import { Button } from '@mantine/core';
import { queries, type Schemas } from '../api/client';
import { Card, Facts, Head, Read } from '../ui/page';
import { bytes, duration } from '../ui/span';
import { Status } from '../ui/status';
import { Ago } from '../ui/time';

type About = Schemas['About'];

export function About() {
  const about = queries.useQuery('get', '/about');
  return (
    <>
      <Head
        title="About"
        actions={
          <Button variant="default" onClick={() => about.refetch()} loading={about.isFetching}>
            Read again
          </Button>
        }
      >
        {about.data && (
          <span className="quiet">
            read <Ago at={new Date(about.dataUpdatedAt).toISOString()} />
          </span>
        )}
      </Head>
      <Read query={about}>{(data) => <Core of={data} />}</Read>
    </>
  );
}

function Core({ of: a }: { of: About }) {
  return (
    <div className="halves">
      <Card title="This core">
        <Facts
          of={[
            ['Version', a.version],
            ['Built with', `${a.go}, ${a.platform}`],
            ['Started', <Ago key="s" at={a.startedAt} />],
            ['Satellites connected to it', a.sessions.toLocaleString('en')],
            ...(a.parts ?? []).map((p): [string, React.ReactNode] => [
              p.name,
              <Status key={p.name} of={p.ok ? 'healthy' : p.optional ? 'degraded' : 'failed'}>
                {p.ok ? 'works' : 'does not work; the core’s log says why'}
              </Status>,
            ]),
          ]}
        />
      </Card>
      <Card title="Database">
        <Facts
          of={[
            ['Engine', `${a.database.engine} ${a.database.version}`],
            ['Schema', a.database.schema],
            ['Size', bytes(a.database.sizeBytes)],
            ['Answers in', duration(a.database.latencyMs)],
          ]}
        />
      </Card>
      <Card title="Cores" aside="all are equal">
        <Facts
          of={(a.cores ?? []).map((c) => [
            <span key={c.id} className="mono">
              {c.id.slice(0, 8)}
            </span>,
            c.id === a.core ? 'works; this one' : 'works',
          ])}
        />
      </Card>
      <Card title="Bus">
        <Facts
          of={[
            ['Kind', a.bus.kind],
            [
              'Other cores',
              <Status key="c" of={a.bus.connected ? 'healthy' : 'degraded'}>
                {a.bus.kind === 'local' ? 'none' : a.bus.connected ? 'heard' : 'not heard: their changes are seen late'}
              </Status>,
            ],
            [
              'Messages',
              `${a.bus.sent.toLocaleString('en')} sent, ${a.bus.received.toLocaleString('en')} received, ${a.bus.lost} lost`,
            ],
          ]}
        />
      </Card>
    </div>
  );
}
