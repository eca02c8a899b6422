import { Button, Select } from '@mantine/core';
import { useState } from 'react';
import { queries, type Schemas, useAll } from '../api/client';
import { Doing } from '../ui/form';
import { Head, Read } from '../ui/page';
import { Secret } from '../ui/secret';
import { type Column, DataTable } from '../ui/table';
import { Ago } from '../ui/time';
import { Named, ROLES } from './users';

type Token = Schemas['APIToken'];
const DAY = 24 * 3_600_000;

const COLUMNS: Column<Token>[] = [
  { key: 'name', title: 'Name', value: (t) => t.name },
  { key: 'role', title: 'Role', value: (t) => t.role, kinds: (t) => [t.role] },
  {
    key: 'owner',
    title: 'Owner',
    value: (t) => t.owner,
    cell: (t) => t.owner || <span className="quiet">nobody</span>,
  },
  {
    key: 'used',
    title: 'Last used',
    value: (t) => t.lastUsedAt,
    cell: (t) => (t.lastUsedAt ? <Ago at={t.lastUsedAt} /> : <span className="quiet">never</span>),
  },
  {
    key: 'expires',
    title: 'Expires',
    value: (t) => t.expiresAt,
    cell: (t) =>
      t.expiresAt ? (
        Date.parse(t.expiresAt) < Date.now() ? (
          <span className="tone-bad">expired</span>
        ) : (
          <Ago at={t.expiresAt} phrase="in" />
        )
      ) : (
        <span className="quiet">never</span>
      ),
  },
  { key: 'made', title: 'Created', value: (t) => t.createdAt, cell: (t) => <Ago at={t.createdAt} />, wideOnly: true },
  { key: 'do', title: '', value: () => null, cell: (t) => <Revoke of={t} /> },
];

export function Tokens() {
  const all = useAll('/tokens');
  const [making, setMaking] = useState(false);
  return (
    <>
      <Head title="API tokens" actions={<Button onClick={() => setMaking(true)}>New token</Button>} />
      {making && <NewToken close={() => setMaking(false)} />}
      <div className="card">
        <Read query={all}>
          {(rows) => (
            <DataTable
              label="API tokens"
              noun="token"
              columns={COLUMNS}
              rows={rows}
              id={(t) => t.id}
              sortBy="name"
              empty="No tokens yet. A program signs in with one: export PERIGEE_TOKEN=…"
            />
          )}
        </Read>
      </div>
    </>
  );
}

function NewToken({ close }: { close: () => void }) {
  const { data: me } = queries.useQuery('get', '/me');
  const create = queries.useMutation('post', '/tokens');
  const [form, setForm] = useState<{ name: string; role: Token['role']; days: string }>({
    name: '',
    role: 'viewer',
    days: '90',
  });
  const [made, setMade] = useState<Schemas['APITokenText'] | null>(null);
  if (made) return <Secret title={`Token ${made.token.name}`} what="token" text={made.text} close={close} />;
  const least = ROLES.findIndex((r) => r.value === me?.role);
  return (
    <Doing
      title="New token"
      button="Create"
      close={close}
      touches="/tokens"
      run={async () =>
        setMade(
          await create.mutateAsync({
            body: {
              name: form.name.trim(),
              role: form.role,
              expiresAt: form.days === '0' ? null : new Date(Date.now() + Number(form.days) * DAY).toISOString(),
            },
          }),
        )
      }
    >
      <Named label="Name" place="name" value={form.name} onChange={(name) => setForm({ ...form, name })} />
      <Select
        label="Role"
        data={ROLES.slice(0, least + 1)}
        allowDeselect={false}
        value={form.role}
        onChange={(role) => setForm({ ...form, role: role as Token['role'] })}
      />
      <Select
        label="Valid"
        allowDeselect={false}
        value={form.days}
        onChange={(days) => setForm({ ...form, days: days ?? '90' })}
        data={[
          { value: '1', label: 'for a day' },
          { value: '30', label: 'for 30 days' },
          { value: '90', label: 'for 90 days' },
          { value: '365', label: 'for a year' },
          { value: '0', label: 'for ever' },
        ]}
      />
    </Doing>
  );
}

function Revoke({ of: t }: { of: Token }) {
  const revoke = queries.useMutation('delete', '/tokens/{id}');
  const [open, setOpen] = useState(false);
  return (
    <>
      <Button size="compact-sm" variant="default" aria-label={`Revoke ${t.name}`} onClick={() => setOpen(true)}>
        Revoke
      </Button>
      {open && (
        <Doing
          title={`Revoke ${t.name}`}
          button="Revoke it"
          danger
          close={() => setOpen(false)}
          touches="/tokens"
          run={async () => {
            await revoke.mutateAsync({ params: { path: { id: t.id } } });
            setOpen(false);
          }}
        >
          <p>
            What uses it is refused from now on, and sessions that were opened with it end. This cannot be undone.
            {t.lastUsedAt && (
              <>
                {' '}
                It was used <Ago at={t.lastUsedAt} />.
              </>
            )}
          </p>
        </Doing>
      )}
    </>
  );
}
