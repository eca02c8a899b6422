import { Button } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { queries, type Schemas } from '../api/client';
import { Doing } from '../ui/form';
import { May } from '../ui/may';
import { Card, Facts, Head, Read } from '../ui/page';
import { Status } from '../ui/status';
import { type Column, DataTable } from '../ui/table';
import { Ago } from '../ui/time';

type About = Schemas['About'];
type InForce = Schemas['InForce'];

const size = (bytes: number) => `${(bytes / 1_048_576).toLocaleString('en', { maximumFractionDigits: 1 })} MiB`;

export function About() {
  const about = queries.useQuery('get', '/about');
  return (
    <>
      <Head title="About" />
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
            ['Size', size(a.database.sizeBytes)],
            ['Answers in', `${a.database.latencyMs.toFixed(1)} ms`],
          ]}
        />
      </Card>
      <Card title="Cores" aside="none leads">
        <Facts
          of={(a.cores ?? []).map((c) => [
            <span key={c.id} className="mono">
              {c.id.slice(0, 8)}
            </span>,
            <>
              seen <Ago at={c.seenAt} />
              {c.id === a.core && ', this one'}
            </>,
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
                {a.bus.kind === 'local' ? 'none' : a.bus.connected ? 'heard' : 'not heard; slow polls carry'}
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

const COLUMNS: Column<InForce>[] = [
  { key: 'setting', title: 'Setting', value: (s) => s.name, cell: (s) => <span className="mono">{s.name}</span> },
  { key: 'value', title: 'Value', value: (s) => s.value },
  { key: 'means', title: 'What it is', value: (s) => s.means },
];

export function Settings() {
  const about = queries.useQuery('get', '/about');
  const policy = queries.useQuery('get', '/sandbox-policy');
  return (
    <>
      <Head title="Settings" />
      <Card title="What scripts may do on satellites" aside={policy.data?.isDefault ? 'the default' : undefined}>
        <Read query={policy}>{(data) => <Sandbox of={data} />}</Read>
      </Card>
      <Card title="What this core was started with" aside={<Link to="/about">about</Link>} pad={false}>
        <p className="notice">These are flags of “perigee serve”, and change with a start. Limits are built in.</p>
        <Read query={about}>
          {(data) => (
            <DataTable label="Settings" columns={COLUMNS} rows={data.settings ?? []} id={(s) => s.name} empty="None." />
          )}
        </Read>
      </Card>
    </>
  );
}

function Sandbox({ of: s }: { of: Schemas['Setting'] }) {
  const { policy } = s;
  const set = queries.useMutation('put', '/sandbox-policy');
  const reset = queries.useMutation('delete', '/sandbox-policy');
  const [open, setOpen] = useState<'' | 'turn' | 'reset'>('');
  const close = () => setOpen('');
  return (
    <div className="stack">
      <Facts
        of={[
          [
            'Sandbox',
            <Status key="e" of={policy.enabled ? 'healthy' : 'degraded'}>
              {policy.enabled ? 'on' : 'off'}
            </Status>,
          ],
          [
            'Where it cannot be made',
            policy.onUnavailable === 'fail' ? 'scripts fail' : 'scripts run with what there is of it',
          ],
          ['Network', [policy.network.mode, ...(policy.network.allow ?? [])].join(' ')],
          ['Files', policy.filesystem.mode],
          [
            'Limits',
            Object.entries(policy.resources ?? {})
              .map(([name, value]) => `${name} ${Number(value).toLocaleString('en')}`)
              .join(', ') || 'none',
          ],
          [
            'Set',
            s.updatedAt ? (
              <>
                {s.updatedBy} <Ago key="u" at={s.updatedAt} />
              </>
            ) : (
              'never'
            ),
          ],
        ]}
      />
      <May to="set-sandbox-policy">
        <div className="row">
          <Button variant="default" onClick={() => setOpen('turn')}>
            Turn it {policy.enabled ? 'off' : 'on'}
          </Button>
          {!s.isDefault && (
            <Button variant="default" onClick={() => setOpen('reset')}>
              Back to the default
            </Button>
          )}
          <span className="quiet small">“perigee sandbox set” changes the rest.</span>
        </div>
      </May>
      {open === 'turn' && (
        <Doing
          title={`Turn the sandbox ${policy.enabled ? 'off' : 'on'}`}
          button={policy.enabled ? 'Turn it off' : 'Turn it on'}
          danger={policy.enabled}
          close={close}
          touches="/sandbox-policy"
          run={async () => {
            await set.mutateAsync({ body: { ...policy, enabled: !policy.enabled } });
            close();
          }}
        >
          <p>
            {policy.enabled
              ? 'Scripts may then do on every satellite what its user can.'
              : 'Scripts are then held to this policy on every satellite.'}
          </p>
        </Doing>
      )}
      {open === 'reset' && (
        <Doing
          title="Back to the default"
          button="Take the default"
          close={close}
          touches="/sandbox-policy"
          run={async () => {
            await reset.mutateAsync({});
            close();
          }}
        >
          <p>The policy that was set is forgotten, and every satellite gets the default.</p>
        </Doing>
      )}
    </div>
  );
}
