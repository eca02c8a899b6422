import { Button, Checkbox, CopyButton, Fieldset, NumberInput, Select, Switch, TagsInput } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { type CSSProperties, useState } from 'react';
import { queries, type Schemas } from '../api/client';
import { Doing, Form, useWrong } from '../ui/form';
import { May } from '../ui/may';
import { Card, Head, Read } from '../ui/page';
import { type Column, DataTable } from '../ui/table';
import { Ago } from '../ui/time';
import { loosened } from './sandbox-loosened';

type InForce = Schemas['InForce'];
type Policy = Schemas['Policy'];

const VALUE: Column<InForce> = {
  key: 'value',
  title: 'Value',
  value: (s) => s.value,
  cell: (s) => s.value || <span className="quiet">left out</span>,
};
const MEANS: Column<InForce> = { key: 'means', title: 'What it is', value: (s) => s.means };

const FLAGS: Column<InForce>[] = [
  { key: 'setting', title: 'Setting', value: (s) => s.name, cell: (s) => <ToCopy name={s.name} of={s} /> },
  { key: 'env', title: 'Variable', value: (s) => s.env, cell: (s) => s.env && <ToCopy name={s.env} of={s} /> },
  VALUE,
  MEANS,
];

const LIMITS_IN_FORCE: Column<InForce>[] = [{ key: 'limit', title: 'Limit', value: (s) => s.name }, VALUE, MEANS];

/** A flag or variable, and to copy it with the value it has: one that is secret is for whoever knows it. */
function ToCopy({ name, of: s }: { name: string; of: InForce }) {
  const text = `${name}=${s.secret ? '' : s.value}`;
  return (
    <span className="row" style={{ flexWrap: 'nowrap' }}>
      <span className="mono" style={{ whiteSpace: 'nowrap' }}>
        {name}
      </span>
      <CopyButton value={text}>
        {({ copied, copy }) => (
          <Button
            variant="default"
            size="compact-xs"
            aria-label={`${copied ? 'Copied' : 'Copy'} ${text}`}
            onClick={copy}
          >
            {copied ? 'Copied' : 'Copy'}
          </Button>
        )}
      </CopyButton>
    </span>
  );
}

export function Settings() {
  const about = queries.useQuery('get', '/about');
  const policy = queries.useQuery('get', '/sandbox-policy');
  const set = policy.data;
  return (
    <>
      <Head title="Settings" />
      <Card
        title="What scripts may do on satellites"
        aside={
          set &&
          (set.isDefault ? (
            'the default'
          ) : (
            <>
              set by {set.updatedBy} {set.updatedAt && <Ago at={set.updatedAt} />}
            </>
          ))
        }
      >
        <Read query={policy}>{(data) => <Sandbox key={data.updatedAt ?? 'default'} of={data} />}</Read>
      </Card>
      <Card title="What this core was started with" aside={<Link to="/about">about</Link>} pad={false}>
        <p className="notice">
          Nothing here can be changed while the core runs: give it the flag, or the variable in its environment, and
          start it again. A flag counts more than a variable. Each core of a database has its own.
        </p>
        <Read query={about}>
          {(data) => (
            <DataTable
              label="Settings"
              noun="setting"
              columns={FLAGS}
              rows={(data.settings ?? []).filter((s) => !s.fixed)}
              id={(s) => s.name}
              empty="None."
            />
          )}
        </Read>
      </Card>
      <Card title="Limits that are built in" pad={false}>
        <Read query={about}>
          {(data) => (
            <DataTable
              label="Limits"
              noun="limit"
              name="limits"
              columns={LIMITS_IN_FORCE}
              rows={(data.settings ?? []).filter((s) => s.fixed)}
              id={(s) => s.name}
              empty="None."
            />
          )}
        </Read>
      </Card>
    </>
  );
}

const MIB = 1 << 20;

// The limits of one script: what the form calls them, in which unit, and what they do.
const LIMITS: [name: keyof Policy['resources'], label: string, unit: number, what: string][] = [
  ['cpuSeconds', 'Processor time, in seconds', 1, 'A script that has used it up is ended.'],
  ['memoryBytes', 'Memory, in MiB', MIB, 'What it asks for above that it does not get.'],
  ['maxProcesses', 'Processes', 1, 'It can start no more at once.'],
  ['maxOpenFiles', 'Open files', 1, 'Connections count as well.'],
  ['maxOutputBytes', 'Output, in MiB', MIB, 'What it prints beyond is cut off.'],
  ['maxFileSizeBytes', 'Size of a file, in MiB', MIB, 'It cannot write a larger one.'],
];

/** The policy as a form; who makes it looser is asked first. */
function Sandbox({ of: s }: { of: Schemas['Setting'] }) {
  const set = queries.useMutation('put', '/sandbox-policy');
  const reset = queries.useMutation('delete', '/sandbox-policy');
  const [policy, setPolicy] = useState(s.policy);
  const [open, setOpen] = useState<'' | 'loosen' | 'reset'>('');
  const close = () => setOpen('');
  const change = (part: Partial<Policy>) => setPolicy({ ...policy, ...part });
  const dirty = JSON.stringify(policy) !== JSON.stringify(s.policy);
  const looser = loosened(s.policy, policy);
  const save = async () => {
    await set.mutateAsync({ body: policy });
  };
  const { network, filesystem, privilege, resources } = policy;
  return (
    <>
      <Form
        save={async () => {
          if (looser.length) setOpen('loosen');
          else await save();
        }}
        button="Save"
        touches="/sandbox-policy"
        may="set-sandbox-policy"
        disabled={!dirty}
        dirty={dirty}
        {...(dirty ? { cancel: () => setPolicy(s.policy), cancelWord: 'Undo' } : {})}
      >
        <p className="quiet">
          One policy for the whole fleet. It reaches satellites that are connected at once, and the others when they
          come back; what a satellite’s operator forbids there it cannot allow.
        </p>
        <Switch
          label="Sandbox"
          description="Scripts are held to what is said below. Without it they may do what the satellite’s user can."
          checked={policy.enabled}
          onChange={(e) => change({ enabled: e.currentTarget.checked })}
        />
        <div className="fields" style={{ '--field': '20rem' } as CSSProperties}>
          <Select
            label="Where the sandbox cannot be made"
            description="On kernels before Linux 6.2, and on other systems."
            allowDeselect={false}
            data={[
              { value: 'fail', label: 'Scripts do not run, and say why' },
              { value: 'degrade', label: 'Scripts run with what there is of it' },
            ]}
            value={policy.onUnavailable}
            onChange={(v) => change({ onUnavailable: v as Policy['onUnavailable'] })}
          />
          <Select
            label="Files"
            description="What of the satellite’s disk they see; packages they can always read."
            allowDeselect={false}
            data={[
              { value: 'scratch-only', label: 'A directory of their own, and programs' },
              { value: 'scratch-plus-ro', label: 'And to read: /etc, /opt, /proc, /sys' },
              { value: 'off', label: 'Everything that their user may' },
            ]}
            value={filesystem.mode}
            onChange={(v) => change({ filesystem: { ...filesystem, mode: v as typeof filesystem.mode } })}
          />
          <Limit
            label="Room in their directory, in MiB"
            description="No limit if empty."
            place="filesystem.scratchBytes"
            unit={MIB}
            value={filesystem.scratchBytes}
            onChange={(scratchBytes) => change({ filesystem: { ...filesystem, scratchBytes } })}
          />
          <Select
            label="Run as"
            description="A satellite that is not root gives up nothing, because it has nothing."
            allowDeselect={false}
            data={[
              { value: 'drop-to-uid', label: 'A user without rights' },
              { value: 'inherit', label: 'The satellite’s own user' },
            ]}
            value={privilege.mode}
            onChange={(v) => change({ privilege: { ...privilege, mode: v as typeof privilege.mode } })}
          />
          {privilege.mode === 'drop-to-uid' && (
            <>
              <Limit
                label="User id"
                description="65534 if empty."
                place="privilege.uid"
                value={privilege.uid}
                onChange={(uid) => change({ privilege: { ...privilege, uid } })}
              />
              <Limit
                label="Group id"
                description="65534 if empty."
                place="privilege.gid"
                value={privilege.gid}
                onChange={(gid) => change({ privilege: { ...privilege, gid } })}
              />
            </>
          )}
        </div>
        <Fieldset legend="Network">
          <div className="stack">
            <Select
              label="What they may reach"
              allowDeselect={false}
              data={[
                { value: 'deny', label: 'Nothing' },
                { value: 'allowlist', label: 'Only what is allowed below' },
                { value: 'unrestricted', label: 'Everything' },
              ]}
              value={network.mode}
              onChange={(v) => change({ network: { ...network, mode: v as typeof network.mode } })}
            />
            {network.mode === 'allowlist' && (
              <Allowed value={network.allow ?? []} onChange={(allow) => change({ network: { ...network, allow } })} />
            )}
            <Checkbox
              label="Never link-local and metadata addresses"
              description="169.254.0.0/16 and its like, at which clouds give credentials to whoever asks."
              checked={network.denyLinkLocalAndMetadata}
              onChange={(e) => change({ network: { ...network, denyLinkLocalAndMetadata: e.currentTarget.checked } })}
            />
          </div>
        </Fieldset>
        <Fieldset legend="Limits of one script (no limit where empty)">
          <div className="fields">
            {LIMITS.map(([name, label, unit, what]) => (
              <Limit
                key={name}
                label={label}
                description={what}
                place={`resources.${name}`}
                unit={unit}
                value={resources[name]}
                onChange={(value) => change({ resources: { ...resources, [name]: value } })}
              />
            ))}
          </div>
        </Fieldset>
      </Form>
      {!s.isDefault && (
        <May to="reset-sandbox-policy">
          <p>
            <Button variant="default" onClick={() => setOpen('reset')}>
              Back to the default
            </Button>
          </p>
        </May>
      )}
      {open === 'loosen' && (
        <Doing
          title="Let scripts do more"
          button="Let them"
          danger
          close={close}
          touches="/sandbox-policy"
          run={async () => {
            await save();
            close();
          }}
        >
          <ul>
            {looser.map((words) => (
              <li key={words}>{words}</li>
            ))}
          </ul>
        </Doing>
      )}
      {open === 'reset' && (
        <Doing
          title="Back to the default"
          button="Take the default"
          danger
          close={close}
          touches="/sandbox-policy"
          run={async () => {
            await reset.mutateAsync({});
            close();
          }}
        >
          <p>
            The policy that was set is forgotten, with its list of what scripts may reach, and every satellite gets the
            default.
          </p>
        </Doing>
      )}
    </>
  );
}

function Limit({
  label,
  description,
  place,
  unit = 1,
  value,
  onChange,
}: {
  label: string;
  description: string;
  place: string;
  unit?: number;
  value: number | undefined;
  onChange: (value: number | undefined) => void;
}) {
  const wrong = useWrong(place);
  return (
    <NumberInput
      label={label}
      description={description}
      error={wrong}
      min={0}
      allowDecimal={unit > 1}
      decimalScale={3}
      value={value === undefined ? '' : value / unit}
      onChange={(v) => onChange(v === '' ? undefined : Math.round(Number(v) * unit))}
    />
  );
}

function Allowed({ value, onChange }: { value: string[]; onChange: (value: string[]) => void }) {
  const wrong = useWrong('network.allow', true);
  return (
    <TagsInput
      label="Allowed"
      description="Names, addresses and networks such as api.example.org, 192.0.2.7 or 10.0.0.0/8. While it is empty they reach nothing."
      placeholder="type one, press Enter"
      error={wrong}
      value={value}
      onChange={onChange}
    />
  );
}
