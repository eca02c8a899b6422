import { Button, PasswordInput, Select, TextInput } from '@mantine/core';
import { useState } from 'react';
import { queries, type Schemas, signOut, useAll } from '../api/client';
import { Doing, Form, useWrong } from '../ui/form';
import { May } from '../ui/may';
import { Card, Head, Read } from '../ui/page';
import { Secret } from '../ui/secret';
import { Status } from '../ui/status';
import { type Column, DataTable } from '../ui/table';
import { Ago } from '../ui/time';

type User = Schemas['User'];
type Role = User['role'];

export const ROLES = [
  { value: 'viewer', label: 'viewer: sees what is watched, changes nothing' },
  { value: 'operator', label: 'operator: also changes what is watched, and sets secrets' },
  { value: 'admin', label: 'admin: also manages users, packages and settings' },
];

const COLUMNS: Column<User>[] = [
  { key: 'name', title: 'Name', value: (u) => u.name },
  { key: 'role', title: 'Role', value: (u) => u.role, kinds: (u) => [u.role] },
  {
    key: 'state',
    title: 'May sign in',
    value: (u) => (u.disabled ? 'disabled' : 'yes'),
    kinds: (u) => [u.disabled ? 'disabled' : 'yes'],
    cell: (u) => <Status of={u.disabled ? 'unknown' : 'online'}>{u.disabled ? 'disabled' : 'yes'}</Status>,
  },
  {
    key: 'signed-in',
    title: 'Signed in',
    value: (u) => u.signedInAt,
    cell: (u) => (u.signedInAt ? <Ago at={u.signedInAt} /> : <span className="quiet">never</span>),
  },
  { key: 'made', title: 'Created', value: (u) => u.createdAt, cell: (u) => <Ago at={u.createdAt} />, wideOnly: true },
  { key: 'do', title: '', value: () => null, cell: (u) => <Doings of={u} /> },
];

export function Users() {
  const all = useAll('/users');
  const [making, setMaking] = useState(false);
  return (
    <>
      <Head
        title="Users"
        actions={
          <May to="create-user">
            <Button onClick={() => setMaking(true)}>New user</Button>
          </May>
        }
      />
      {making && <NewUser close={() => setMaking(false)} />}
      <div className="card">
        <Read query={all}>
          {(rows) => (
            <DataTable
              label="Users"
              noun="user"
              columns={COLUMNS}
              rows={rows}
              id={(u) => u.id}
              sortBy="name"
              empty="No users yet: everybody who gets in holds an API token. New user creates one, who signs in with a password."
            />
          )}
        </Read>
      </div>
    </>
  );
}

function NewUser({ close }: { close: () => void }) {
  const create = queries.useMutation('post', '/users');
  const [form, setForm] = useState<{ name: string; role: Role }>({ name: '', role: 'viewer' });
  const [made, setMade] = useState<Schemas['UserPassword'] | null>(null);
  if (made?.password)
    return <Secret title={`User ${made.user.name}`} what="password" text={made.password} close={close} />;
  return (
    <Doing
      title="New user"
      button="Create"
      close={close}
      touches="/users"
      run={async () => setMade(await create.mutateAsync({ body: { ...form, name: form.name.trim() } }))}
    >
      <Named label="Name" place="name" value={form.name} onChange={(name) => setForm({ ...form, name })} />
      <Select
        label="Role"
        data={ROLES}
        allowDeselect={false}
        value={form.role}
        onChange={(role) => setForm({ ...form, role: role as Role })}
      />
      <p className="quiet small">
        A password is generated and shown once; they can change it when they have signed in.
      </p>
    </Doing>
  );
}

/** A text whose mistakes the core finds. */
export function Named({
  label,
  place,
  value,
  onChange,
}: {
  label: string;
  place: string;
  value: string;
  onChange: (value: string) => void;
}) {
  const wrong = useWrong(place);
  return (
    <TextInput
      label={label}
      required
      data-autofocus
      autoComplete="off"
      error={wrong}
      value={value}
      onChange={(e) => onChange(e.currentTarget.value)}
    />
  );
}

function Doings({ of: u }: { of: User }) {
  const [open, setOpen] = useState<'' | 'role' | 'reset' | 'delete' | 'disable'>('');
  const close = () => setOpen('');
  const button = (what: typeof open, text: string) => (
    <Button size="compact-sm" variant="default" aria-label={`${text}: ${u.name}`} onClick={() => setOpen(what)}>
      {text}
    </Button>
  );
  return (
    <span className="row">
      {button('role', 'Role')}
      {button('disable', u.disabled ? 'Enable' : 'Disable')}
      {button('reset', 'New password')}
      {button('delete', 'Delete')}
      {open === 'role' && <ChangeRole of={u} close={close} />}
      {open === 'disable' && <Disable of={u} close={close} />}
      {open === 'reset' && <Reset of={u} close={close} />}
      {open === 'delete' && <Delete of={u} close={close} />}
    </span>
  );
}

function ChangeRole({ of: u, close }: { of: User; close: () => void }) {
  const update = queries.useMutation('patch', '/users/{id}');
  const [role, setRole] = useState<Role>(u.role);
  return (
    <Doing
      title={`Role of ${u.name}`}
      button="Save"
      close={close}
      touches="/users"
      run={async () => {
        await update.mutateAsync({ params: { path: { id: u.id } }, body: { role } });
        close();
      }}
    >
      <Select label="Role" data={ROLES} allowDeselect={false} value={role} onChange={(r) => setRole(r as Role)} />
      <p className="quiet small">Their tokens can never do more than they can.</p>
    </Doing>
  );
}

function Disable({ of: u, close }: { of: User; close: () => void }) {
  const update = queries.useMutation('patch', '/users/{id}');
  return (
    <Doing
      title={`${u.disabled ? 'Enable' : 'Disable'} ${u.name}`}
      button={u.disabled ? 'Enable' : 'Disable'}
      danger={!u.disabled}
      close={close}
      touches="/users"
      run={async () => {
        await update.mutateAsync({ params: { path: { id: u.id } }, body: { disabled: !u.disabled } });
        close();
      }}
    >
      <p>
        {u.disabled
          ? 'They may sign in again, and their tokens work again.'
          : 'They are signed out everywhere, and their tokens do not work until they are enabled again.'}
      </p>
    </Doing>
  );
}

function Reset({ of: u, close }: { of: User; close: () => void }) {
  const reset = queries.useMutation('post', '/users/{id}/reset-password');
  const [made, setMade] = useState<Schemas['UserPassword'] | null>(null);
  if (made?.password) return <Secret title={`User ${u.name}`} what="password" text={made.password} close={close} />;
  return (
    <Doing
      title={`New password for ${u.name}`}
      button="Make a new password"
      danger
      close={close}
      touches="/users"
      run={async () => setMade(await reset.mutateAsync({ params: { path: { id: u.id } }, body: {} }))}
    >
      <p>Their password stops working, and they are signed out everywhere. The new one is shown once.</p>
    </Doing>
  );
}

function Delete({ of: u, close }: { of: User; close: () => void }) {
  const remove = queries.useMutation('delete', '/users/{id}');
  const tokens = useAll('/tokens');
  const theirs = (tokens.data ?? []).filter((t) => t.userId === u.id);
  return (
    <Doing
      title={`Delete ${u.name}`}
      button="Delete them"
      danger
      close={close}
      touches="/"
      run={async () => {
        await remove.mutateAsync({ params: { path: { id: u.id } } });
        close();
      }}
    >
      <p>
        They are signed out everywhere.{' '}
        {theirs.length > 0 && `Their tokens end too: ${theirs.map((t) => t.name).join(', ')}. `}
        What the audit log has of them stays. This cannot be undone; to keep them out for a while, disable them.
      </p>
    </Doing>
  );
}

export function Password() {
  const me = queries.useQuery('get', '/me');
  return (
    <>
      <Head title="Your password" />
      <Read query={me}>
        {(me) =>
          me.user ? (
            <ChangePassword />
          ) : (
            <Card title="There is none to change">
              <div className="stack">
                <p>
                  You are signed in with the API token {me.name}, and a token has no password. To change the password of
                  a user, sign in with the user’s name and password first.
                </p>
                <p>
                  <Button
                    onClick={async () => {
                      await signOut().catch(() => undefined);
                      location.assign('/password');
                    }}
                  >
                    Sign out, to sign in with a password
                  </Button>
                </p>
              </div>
            </Card>
          )
        }
      </Read>
    </>
  );
}

function ChangePassword() {
  const change = queries.useMutation('put', '/me/password');
  const [form, setForm] = useState({ present: '', password: '', again: '' });
  const field = (name: keyof typeof form, label: string, auto: string) => (
    <OnePassword
      label={label}
      place={name}
      auto={auto}
      value={form[name]}
      onChange={(v) => setForm({ ...form, [name]: v })}
    />
  );
  return (
    <Card title="Change it">
      <Form
        button="Change it and sign in again"
        touches="/none"
        disabled={form.password !== form.again || !form.password}
        save={async () => {
          await change.mutateAsync({ body: { present: form.present, password: form.password } });
          location.assign('/');
        }}
      >
        {field('present', 'Your password now', 'current-password')}
        {field('password', 'The new one', 'new-password')}
        {field('again', 'The new one again', 'new-password')}
        <p className="quiet small">At least ten characters. You are signed out everywhere.</p>
      </Form>
    </Card>
  );
}

export function OnePassword(o: {
  label: string;
  place: string;
  auto: string;
  value: string;
  onChange: (v: string) => void;
}) {
  const wrong = useWrong(o.place);
  return (
    <PasswordInput
      label={o.label}
      required
      autoComplete={o.auto}
      error={wrong}
      value={o.value}
      onChange={(e) => o.onChange(e.currentTarget.value)}
      style={{ maxWidth: '24rem' }}
    />
  );
}
