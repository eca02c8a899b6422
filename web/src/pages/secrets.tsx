import { Button, PasswordInput, TextInput } from '@mantine/core';
import { useState } from 'react';
import { queries, type Schemas, useAll, useMay } from '../api/client';
import { Doing, useWrong } from '../ui/form';
import { May } from '../ui/may';
import { Card, Head, Read } from '../ui/page';
import { Status } from '../ui/status';
import { type Column, DataTable } from '../ui/table';
import { Ago, Moment } from '../ui/time';
import { Named } from './users';

type Kept = Schemas['Secret'];

const COLUMNS: Column<Kept>[] = [
  { key: 'name', title: 'Name', value: (s) => s.name, cell: (s) => <span className="mono">{s.name}</span> },
  { key: 'description', title: 'For', value: (s) => s.description },
  { key: 'version', title: 'Version', number: true, value: (s) => s.version },
  {
    key: 'set',
    title: 'Set',
    value: (s) => s.updatedAt,
    cell: (s) => (
      <>
        <Ago at={s.updatedAt} /> <span className="quiet">by {s.updatedBy}</span>
      </>
    ),
  },
  {
    key: 'kept',
    title: 'Kept',
    value: (s) => (s.external ? `vault ${s.external}` : 'here, sealed'),
    kinds: (s) => [s.external ? 'vault' : 'here'],
    cell: (s) => (s.external ? `vault ${s.external}` : 'here, sealed'),
    wideOnly: true,
  },
  { key: 'do', title: '', value: () => null, cell: (s) => <Doings of={s} /> },
];

export function Secrets() {
  const all = useAll('/secrets');
  const [open, setOpen] = useState<'' | 'new' | 'rotate'>('');
  return (
    <>
      <Head
        title="Secrets"
        actions={
          <>
            <May to="rotate-secret-key">
              <Button variant="default" onClick={() => setOpen('rotate')}>
                Rotate the key
              </Button>
            </May>
            <May to="set-secret">
              <Button onClick={() => setOpen('new')}>New secret</Button>
            </May>
          </>
        }
      />
      {open === 'new' && <SetSecret close={() => setOpen('')} />}
      {open === 'rotate' && <RotateKey close={() => setOpen('')} />}
      <div className="card">
        <Read query={all}>
          {(rows) => (
            <DataTable
              label="Secrets"
              noun="secret"
              columns={COLUMNS}
              rows={rows}
              id={(s) => s.name}
              sortBy="name"
              empty={
                <>
                  No secrets yet. A secret is a credential that checks, channels and automations refer to as{' '}
                  <code>
                    {'$'}
                    {'{{ secrets.NAME }}'}
                  </code>
                  ; its value goes in and never comes out.
                </>
              }
            />
          )}
        </Read>
      </div>
      <Leases />
    </>
  );
}

function Doings({ of: s }: { of: Kept }) {
  const remove = queries.useMutation('delete', '/secrets/{name}');
  const [open, setOpen] = useState<'' | 'set' | 'delete'>('');
  const may = useMay();
  const close = () => setOpen('');
  if (!may('set-secret')) return null;
  return (
    <span className="row">
      <Button size="compact-sm" variant="default" aria-label={`New value for ${s.name}`} onClick={() => setOpen('set')}>
        New value
      </Button>
      <Button size="compact-sm" variant="default" aria-label={`Delete ${s.name}`} onClick={() => setOpen('delete')}>
        Delete
      </Button>
      {open === 'set' && <SetSecret of={s} close={close} />}
      {open === 'delete' && (
        <Doing
          title={`Delete ${s.name}`}
          button="Delete it"
          danger
          close={close}
          touches="/secrets"
          run={async () => {
            await remove.mutateAsync({ params: { path: { name: s.name } } });
            close();
          }}
        >
          <p>Checks, channels and automations that refer to it get an error from then on. This cannot be undone.</p>
        </Doing>
      )}
    </span>
  );
}

function SetSecret({ of, close }: { of?: Kept; close: () => void }) {
  const set = queries.useMutation('put', '/secrets/{name}');
  const [form, setForm] = useState({
    name: of?.name ?? '',
    value: '',
    external: of?.external ?? '',
    description: of?.description ?? '',
  });
  return (
    <Doing
      title={of ? `New value for ${of.name}` : 'New secret'}
      button="Set it"
      close={close}
      touches="/secrets"
      disabled={!form.name || !form.value === !form.external}
      run={async () => {
        await set.mutateAsync({
          params: { path: { name: form.name.trim() } },
          body: {
            description: form.description,
            ...(form.external ? { external: form.external.trim() } : { value: form.value }),
          },
        });
        close();
      }}
    >
      {!of && (
        <Named label="Name" place="path.name" value={form.name} onChange={(name) => setForm({ ...form, name })} />
      )}
      <Value value={form.value} onChange={(value) => setForm({ ...form, value })} />
      <TextInput
        label="Or where it is fetched from"
        description="path#field of the vault, when the core has one"
        autoComplete="off"
        value={form.external}
        onChange={(e) => setForm({ ...form, external: e.currentTarget.value })}
      />
      <TextInput
        label="What it is for"
        value={form.description}
        onChange={(e) => setForm({ ...form, description: e.currentTarget.value })}
      />
    </Doing>
  );
}

function Value({ value, onChange }: { value: string; onChange: (value: string) => void }) {
  const wrong = useWrong('value');
  return (
    <PasswordInput
      label="Value"
      description="It is sealed when it is set, and nothing ever shows it again."
      autoComplete="new-password"
      error={wrong}
      value={value}
      onChange={(e) => onChange(e.currentTarget.value)}
    />
  );
}

function RotateKey({ close }: { close: () => void }) {
  const rotate = queries.useMutation('post', '/secrets/rotate-key');
  const [done, setDone] = useState<Schemas['Rotated'] | null>(null);
  return (
    <Doing
      title="Rotate the key"
      button={done ? 'Once more' : 'Rotate it'}
      close={close}
      touches="/secrets"
      run={async () => setDone(await rotate.mutateAsync({}))}
    >
      {done ? (
        <p role="status">
          <Status of="healthy">
            {done.secrets} {done.secrets === 1 ? 'secret is' : 'secrets are'} sealed by key {done.keyId} now.
          </Status>
        </p>
      ) : (
        <p>
          Every secret is sealed by a new key and the old one is forgotten. Values stay as they are, and nothing stops.
        </p>
      )}
    </Doing>
  );
}

/** Who asked for values: satellites for their runs. */
function Leases() {
  const leases = queries.useQuery('get', '/secrets/leases', { params: { query: { limit: 50 } } });
  const satellites = useAll('/satellites');
  const checks = useAll('/checks');
  const called = (all: { id: string; name: string }[] | undefined, id: string) =>
    all?.find((x) => x.id === id)?.name ?? id.slice(0, 8);
  return (
    <Card title="Who asked for values" aside="the newest 50" pad={false}>
      <Read query={leases}>
        {(data) =>
          data.items?.length ? (
            <ol className="list events">
              {data.items.map((l) => (
                <li key={l.id}>
                  <Moment at={l.at} />
                  <span>
                    <Status of={l.allowed ? 'healthy' : 'failed'}>{l.allowed ? 'given' : 'refused'}</Status>{' '}
                    {called(satellites.data, l.satelliteId)} for {called(checks.data, l.checkId)}:{' '}
                    <span className="mono">{(l.names ?? []).join(', ')}</span>{' '}
                    {l.reason && <span className="quiet">{l.reason}</span>}
                  </span>
                </li>
              ))}
            </ol>
          ) : (
            <p className="notice">
              Nobody yet. A satellite is given a value just before a run that needs it, and each time is noted here.
            </p>
          )
        }
      </Read>
    </Card>
  );
}
