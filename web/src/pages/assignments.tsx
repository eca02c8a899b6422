import { Button, Checkbox, MultiSelect, Select } from '@mantine/core';
import { Link, useNavigate, useParams } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { queries, type Schemas, useAll } from '../api/client';
import { AsDocument } from '../ui/document';
import { Editor } from '../ui/editor';
import { Doing, useWrong } from '../ui/form';
import { May } from '../ui/may';
import { Card, Head, Read } from '../ui/page';
import { plural } from '../ui/span';
import { Status } from '../ui/status';
import { type Column, DataTable } from '../ui/table';
import { useUrl } from '../ui/url';
import { WhereFields, whereOf } from './where';

type Assignment = Schemas['Assignment'];
type AssignmentInput = Schemas['AssignmentInput'];

// What an assignment is of, and what it is called.
const SYSTEM: Column<Assignment> = {
  key: 'system',
  title: 'System',
  value: (a) => a.system,
  cell: (a) => (
    <Link to="/systems/$id" params={{ id: a.systemId }}>
      {a.system}
    </Link>
  ),
};
const CHECK: Column<Assignment> = {
  key: 'check',
  title: 'Check',
  value: (a) => a.check,
  cell: (a) => (
    <Link to="/checks/$id" params={{ id: a.checkId }}>
      {a.check}
    </Link>
  ),
};
const NAME: Column<Assignment> = {
  key: 'assignment',
  title: 'Assignment',
  value: (a) => a.name,
  cell: (a) => (
    <>
      {a.name} {!a.enabled && <span className="label">disabled</span>}
    </>
  ),
  wideOnly: true,
};

/** What a satellite has placed on it. */
export const PLACED = [CHECK, SYSTEM, NAME];

const columnsOf = (of: 'check' | 'system', remove: (a: Assignment) => void): Column<Assignment>[] => [
  of === 'system' ? SYSTEM : CHECK,
  NAME,
  {
    key: 'on',
    title: 'Runs on',
    value: (a) => a.placed?.length ?? 0,
    text: (a) => (a.placed ?? []).join(' '),
    cell: (a) => (a.placed?.length ? placesOf(a) : <Status of="degraded">no satellite</Status>),
  },
  {
    key: 'do',
    title: '',
    value: () => null,
    cell: (a) => (
      <May to="update-assignment">
        <span className="row">
          <Link to="/assignments/$id/edit" params={{ id: a.id }} aria-label={`Edit assignment ${a.name}`}>
            Edit
          </Link>
          <Button
            size="compact-sm"
            variant="default"
            aria-label={`Remove assignment ${a.name}`}
            onClick={() => remove(a)}
          >
            Remove
          </Button>
        </span>
      </May>
    ),
  },
];

/** Where a check of a system runs, to be looked at, changed and taken away. */
export function Assignments({ check, system }: { check?: string; system?: string }) {
  const all = useAll('/assignments');
  const [gone, setGone] = useState<Assignment | null>(null);
  const columns = useMemo(() => columnsOf(check ? 'system' : 'check', setGone), [check]);
  return (
    <Card
      title="Assignments"
      pad={false}
      aside={
        <Link to="/assignments/new" search={(check ? { check } : { system }) as never}>
          Assign
        </Link>
      }
    >
      <Read query={all}>
        {(list) => (
          <DataTable
            label="Assignments"
            noun="assignment"
            name="assignments"
            columns={columns}
            rows={list.filter((a) => (check ? a.check === check : a.system === system))}
            id={(a) => a.id}
            sortBy={check ? 'system' : 'check'}
            empty="None, so nothing runs. Assign says where it shall run."
          />
        )}
      </Read>
      {gone && <Remove of={gone} close={() => setGone(null)} />}
    </Card>
  );
}

const placesOf = (a: Assignment) => {
  const placed = a.placed ?? [];
  return placed.length > 5 ? plural(placed.length, 'satellite') : placed.join(', ');
};

function Remove({ of: a, close }: { of: Assignment; close: () => void }) {
  const remove = queries.useMutation('delete', '/assignments/{id}');
  return (
    <Doing
      title={`Remove ${a.check} of ${a.system}`}
      button="Remove it"
      danger
      close={close}
      touches="/"
      run={async () => {
        await remove.mutateAsync({ params: { path: { id: a.id } } });
        close();
      }}
    >
      <p>
        {a.check} of {a.system} is no longer run{a.placed?.length ? ` on ${placesOf(a)}` : ''}, and no longer counts for
        the status of {a.system}. The check and its results stay.
      </p>
    </Doing>
  );
}

export function NewAssignment() {
  const [url] = useUrl();
  const navigate = useNavigate();
  const create = queries.useMutation('post', '/assignments');
  return (
    <>
      <Head title="Assign a check" crumb={<Link to="/checks">Checks</Link>} />
      <Editing
        first={{ name: '', check: url.check ?? '', system: url.system ?? '', includeLocal: true }}
        save={(body) => create.mutateAsync({ body })}
        button="Assign"
        cancel={() =>
          void (url.check
            ? navigate({ to: '/checks/$id', params: { id: url.check } })
            : url.system
              ? navigate({ to: '/systems/$id', params: { id: url.system } })
              : navigate({ to: '/checks' }))
        }
      />
    </>
  );
}

export function EditAssignment() {
  const { id } = useParams({ strict: false }) as { id: string };
  const navigate = useNavigate();
  const assignment = queries.useQuery('get', '/assignments/{id}', { params: { path: { id } } });
  const update = queries.useMutation('put', '/assignments/{id}');
  const a = assignment.data;
  return (
    <>
      <Head
        title={a ? `Edit ${a.check} of ${a.system}` : 'Assignment'}
        crumb={
          a ? (
            <>
              <Link to="/checks/$id" params={{ id: a.checkId }}>
                {a.check}
              </Link>{' '}
              ›{' '}
              <Link to="/systems/$id" params={{ id: a.systemId }}>
                {a.system}
              </Link>
            </>
          ) : (
            <Link to="/checks">Checks</Link>
          )
        }
      />
      <Read query={assignment}>
        {(a) => (
          <Editing
            first={{
              name: a.name,
              labels: a.labels,
              check: a.check,
              system: a.system,
              includeLocal: a.includeLocal,
              satellites: a.satellites,
              policy: a.policy,
              enabled: a.enabled,
              ...(a.environments ? { environments: a.environments } : {}),
              ...(a.satelliteEnvironments ? { satelliteEnvironments: a.satelliteEnvironments } : {}),
            }}
            save={(body) => update.mutateAsync({ params: { path: { id: a.id } }, body })}
            button="Save"
            cancel={() => void navigate({ to: '/checks/$id', params: { id: a.checkId } })}
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
  first: AssignmentInput;
  save: (a: AssignmentInput) => Promise<unknown>;
  button: string;
  cancel: () => void;
}) {
  const navigate = useNavigate();
  const named = (draft: AssignmentInput) => ({
    ...draft,
    ...whereOf(draft),
    name: draft.name || `${draft.check}-${draft.system}`,
  });
  return (
    <Editor
      first={first}
      save={async (draft) => {
        await save(named(draft));
        await navigate({ to: '/checks/$id', params: { id: draft.check } });
      }}
      button={button}
      cancel={cancel}
      touches="/"
    >
      {(draft, change) => {
        const { name, labels, ...spec } = named(draft);
        return (
          <>
            <Card title="Where">
              <div className="stack">
                <What value={draft} onChange={change} fixed={first.name !== ''} />
                <WhereFields
                  value={draft}
                  onChange={(where) => change({ ...draft, ...where })}
                  of={{
                    ...(draft.check ? { check: draft.check } : {}),
                    ...(first.name ? { assignment: first.name } : {}),
                  }}
                />
              </div>
            </Card>
            <AsDocument of={[{ kind: 'Assignment', metadata: { name, labels }, spec }]} />
          </>
        );
      }}
    </Editor>
  );
}

function What({
  value: a,
  onChange,
  fixed,
}: {
  value: AssignmentInput;
  onChange: (a: AssignmentInput) => void;
  fixed: boolean;
}) {
  const checks = useAll('/checks');
  const systems = useAll('/systems');
  const checkWrong = useWrong('check');
  const systemWrong = useWrong('system');
  const nameWrong = useWrong('name');
  const environmentsWrong = useWrong('environments', true);
  const environments = systems.data?.find((s) => s.name === a.system)?.environments ?? [];
  const names = (list: { name: string }[] | undefined, chosen: string) => [
    ...new Set([...(list ?? []).map((one) => one.name), ...(chosen ? [chosen] : [])]),
  ];
  return (
    <>
      <div className="fields">
        <Select
          label="Check"
          required
          searchable
          limit={100}
          disabled={fixed}
          data={names(checks.data, a.check)}
          value={a.check || null}
          error={checkWrong ?? nameWrong}
          onChange={(v) => onChange({ ...a, check: v ?? '' })}
        />
        <Select
          label="System"
          required
          searchable
          limit={100}
          disabled={fixed}
          data={names(systems.data, a.system)}
          value={a.system || null}
          error={systemWrong}
          onChange={(v) => onChange({ ...a, system: v ?? '', environments: undefined })}
        />
      </div>
      {environments.length > 0 && (
        <MultiSelect
          label="In these environments"
          description="In all of them when none is chosen."
          data={environments.map((e) => e.name)}
          value={a.environments ?? []}
          error={environmentsWrong}
          onChange={(v) => onChange({ ...a, environments: v.length ? v : undefined })}
        />
      )}
      <Checkbox
        label="Enabled"
        checked={a.enabled !== false}
        onChange={(e) => onChange({ ...a, enabled: e.currentTarget.checked })}
      />
    </>
  );
}
