import { Button, MultiSelect, Textarea, TextInput } from '@mantine/core';
import { Link, useNavigate, useParams } from '@tanstack/react-router';
import { useState } from 'react';
import { queries, type Schemas, useAll } from '../api/client';
import { AsDocument } from '../ui/document';
import { Editor } from '../ui/editor';
import { Doing, useWrong } from '../ui/form';
import { MapField } from '../ui/map-field';
import { Card, Head, Read } from '../ui/page';
import { plural } from '../ui/span';

type System = Schemas['System'];
type SystemInput = Schemas['SystemInput'];

export function NewSystem() {
  const navigate = useNavigate();
  const create = queries.useMutation('post', '/systems');
  return (
    <>
      <Head title="New system" crumb={<Link to="/systems">Systems</Link>} />
      <Editing
        first={{ name: '' }}
        save={(body) => create.mutateAsync({ body })}
        button="Create the system"
        cancel={() => void navigate({ to: '/systems' })}
      />
    </>
  );
}

export function EditSystem() {
  const { id } = useParams({ strict: false }) as { id: string };
  const navigate = useNavigate();
  const system = queries.useQuery('get', '/systems/{id}', { params: { path: { id } } });
  const update = queries.useMutation('put', '/systems/{id}');
  return (
    <>
      <Head
        title={`Edit ${system.data?.name ?? 'system'}`}
        crumb={
          <>
            <Link to="/systems">Systems</Link> ›{' '}
            <Link to="/systems/$id" params={{ id }}>
              {system.data?.name ?? 'system'}
            </Link>
          </>
        }
      />
      <Read query={system}>
        {(s) => (
          <Editing
            key={s.id}
            first={{
              name: s.name,
              description: s.description,
              labels: s.labels,
              fields: s.fields,
              dependsOn: s.dependsOn,
              environments: s.environments,
            }}
            save={(body) => update.mutateAsync({ params: { path: { id: s.id } }, body })}
            button="Save"
            cancel={() => void navigate({ to: '/systems/$id', params: { id } })}
          />
        )}
      </Read>
    </>
  );
}

function Editing({
  first,
  save,
  button,
  cancel,
}: {
  first: SystemInput;
  save: (s: SystemInput) => Promise<System>;
  button: string;
  cancel: () => void;
}) {
  const navigate = useNavigate();
  return (
    <Editor
      first={first}
      save={async (draft) => {
        const { id } = await save(draft);
        await navigate({ to: '/systems/$id', params: { id } });
      }}
      button={button}
      cancel={cancel}
      touches="/"
    >
      {(draft, change) => (
        <>
          <Card title="What it is">
            <div className="stack">
              <SystemFields value={draft} onChange={change} />
            </div>
          </Card>
          <AsDocument of={[documentOf(draft)]} />
        </>
      )}
    </Editor>
  );
}

function documentOf({ name, labels, ...rest }: SystemInput) {
  const environments = rest.environments?.map(({ name, fields }) => ({ name, fields }));
  return { kind: 'System', metadata: { name, labels }, spec: { ...rest, environments } };
}

function SystemFields({ value: s, onChange }: { value: SystemInput; onChange: (s: SystemInput) => void }) {
  const systems = useAll('/systems');
  const nameWrong = useWrong('name');
  const descriptionWrong = useWrong('description');
  const dependsWrong = useWrong('dependsOn', true);
  const environmentsWrong = useWrong('environments');
  const environments = s.environments ?? [];
  const set = (environments: Schemas['EnvironmentInput'][]) => onChange({ ...s, environments });
  return (
    <>
      <TextInput
        label="Name"
        description="Unique; what people call it"
        required
        value={s.name}
        error={nameWrong}
        onChange={(e) => onChange({ ...s, name: e.currentTarget.value })}
      />
      <Textarea
        label="Description"
        autosize
        value={s.description ?? ''}
        error={descriptionWrong}
        onChange={(e) => onChange({ ...s, description: e.currentTarget.value })}
      />
      <MapField
        label="Labels"
        description="Maintenances and automations choose systems by them."
        place="labels"
        add="Add a label"
        value={s.labels}
        onChange={(labels) => onChange({ ...s, labels: labels ?? {} })}
      />
      <MapField<unknown>
        label="Metadata"
        description="Checks find it in templates, as {{ system.metadata.KEY }}, and scripts in context.system.metadata."
        place="fields"
        add="Add a field"
        value={s.fields}
        onChange={(fields) => onChange({ ...s, fields: fields ?? {} })}
      />
      <MultiSelect
        label="Depends on"
        description="While one of these is unhealthy, nobody is alarmed about this one."
        searchable
        limit={100}
        data={[
          ...new Set([...(systems.data ?? []).map((o) => o.name).filter((n) => n !== s.name), ...(s.dependsOn ?? [])]),
        ]}
        value={s.dependsOn ?? []}
        error={dependsWrong}
        onChange={(dependsOn) => onChange({ ...s, dependsOn })}
      />
      {environments.map((e, i) => (
        <EnvironmentFields
          key={e.id ?? `new ${i}`}
          value={e}
          place={`environments[${i}]`}
          onChange={(next) => set(environments.with(i, next))}
          remove={() => set(environments.toSpliced(i, 1))}
        />
      ))}
      {environmentsWrong && (
        <p className="tone-bad" role="alert">
          {environmentsWrong}
        </p>
      )}
      <div>
        <Button variant="default" size="compact-sm" onClick={() => set([...environments, { name: '' }])}>
          Add an environment
        </Button>{' '}
        <span className="quiet small">A check runs once in each of them, with its fields in templates.</span>
      </div>
    </>
  );
}

function EnvironmentFields({
  value: e,
  place,
  onChange,
  remove,
}: {
  value: Schemas['EnvironmentInput'];
  place: string;
  onChange: (e: Schemas['EnvironmentInput']) => void;
  remove: () => void;
}) {
  const nameWrong = useWrong(`${place}.name`);
  return (
    <fieldset className="group">
      <legend>Environment</legend>
      <TextInput
        label="Name"
        required
        value={e.name}
        error={nameWrong}
        onChange={(event) => onChange({ ...e, name: event.currentTarget.value })}
      />
      <MapField<unknown>
        label="Fields"
        description="In templates, as {{ environment.KEY }}."
        place={`${place}.fields`}
        add="Add a field"
        value={e.fields}
        onChange={(fields) => onChange({ ...e, fields })}
      />
      <div>
        <Button variant="default" size="compact-sm" onClick={remove}>
          Remove {e.name || 'the environment'}
        </Button>
      </div>
    </fieldset>
  );
}

/** Says what goes with a system before it goes. */
export function DeleteSystem({ of: s, close }: { of: System; close: () => void }) {
  const navigate = useNavigate();
  const remove = queries.useMutation('delete', '/systems/{id}');
  const assignments = useAll('/assignments');
  const systems = useAll('/systems');
  const [name, setName] = useState('');
  const mine = (assignments.data ?? []).filter((a) => a.systemId === s.id);
  const orphans = mine.filter((a) => !(assignments.data ?? []).some((o) => o.check === a.check && o.system !== s.name));
  const dependants = (systems.data ?? []).filter((o) => (o.dependsOnIds ?? []).includes(s.id));
  return (
    <Doing
      title={`Delete ${s.name}`}
      button="Delete it"
      danger
      disabled={name !== s.name}
      close={close}
      touches="/"
      run={async () => {
        await remove.mutateAsync({ params: { path: { id: s.id } } });
        await navigate({ to: '/systems' });
      }}
    >
      <p>This goes with it, and cannot be undone:</p>
      <ul style={{ margin: 0 }}>
        <li>
          {plural(mine.length, 'assignment')}
          {mine.length > 0 && `: ${shortList(mine.map((a) => a.check))}`}
        </li>
        {orphans.length > 0 && (
          <li>
            {plural(orphans.length, 'check')} will be assigned nowhere, and stay:{' '}
            {shortList(orphans.map((a) => a.check))}
          </li>
        )}
        {dependants.length > 0 && <li>that it is needed by {shortList(dependants.map((d) => d.name))}</li>}
      </ul>
      <TextInput
        label={`Type ${s.name} to confirm`}
        data-autofocus
        value={name}
        onChange={(e) => setName(e.currentTarget.value)}
        autoComplete="off"
      />
    </Doing>
  );
}

export const shortList = (names: string[]): string =>
  names.length > 8 ? `${names.slice(0, 8).join(', ')}, …` : names.join(', ');
