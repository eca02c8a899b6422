import { Checkbox, MultiSelect, Select, Textarea, TextInput } from '@mantine/core';
import { Link, useNavigate, useParams } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { api, queries, type Schemas, useAll } from '../api/client';
import { AsDocument, applicable, type Document } from '../ui/document';
import { Form, useWrong } from '../ui/form';
import { MapField } from '../ui/map-field';
import { Card, Head, Read } from '../ui/page';
import { type Schema, SchemaFields } from '../ui/schema-fields';
import { useUrl } from '../ui/url';
import { Collectors, type Found, freeId } from './check-collectors';
import { special } from './check-fields';
import { TryCard } from './check-try';
import { type Where, WhereFields, whereOf } from './where';

type CheckInput = Schemas['CheckInput'];
type Strategy = Schemas['Strategy'];

const byTitle = (s: Strategy) => (s.schema as Schema).title ?? s.id;

/** A strategy's new check: its first collector is there already, when it is the only one. */
function fresh(strategy: Strategy): CheckInput['spec'] {
  const [first, ...others] = strategy.collectors ?? [];
  return {
    strategy: strategy.id,
    config: {},
    interval: '30s',
    collectors:
      first && !others.length ? [{ id: freeId(first.id, []), collector: first.id, config: {}, assertions: [] }] : [],
  };
}

export function NewCheck() {
  const strategies = queries.useQuery('get', '/strategies', {});
  return (
    <>
      <Head title="New check" crumb={<Link to="/checks">Checks</Link>} />
      <Read query={strategies}>{(list) => <Making strategies={list.items ?? []} />}</Read>
    </>
  );
}

function Making({ strategies }: { strategies: Strategy[] }) {
  const navigate = useNavigate();
  const [url] = useUrl();
  const systems = useAll('/systems');
  const [check, setCheck] = useState<CheckInput | null>(null);
  const [chosen, setChosen] = useState<string[]>(url.system ? [url.system] : []);
  const [where, setWhere] = useState<Where>({ includeLocal: true });
  const documents = useMemo(
    () => (check ? [documentOf(check), ...chosen.map((system) => assignmentOf(check.name, system, where))] : []),
    [check, chosen, where],
  );
  const save = async () => {
    const send = async (dryRun: boolean) => {
      const { data, error } = await api.POST('/apply', { body: { documents: applicable(documents), dryRun } });
      if (!data) throw error;
      return data.changes ?? [];
    };
    // What is there already is not overwritten by what is called new.
    const taken = (await send(true)).filter((change) => change.action !== 'created');
    if (taken.length) {
      throw {
        detail: 'It is not saved.',
        errors: taken.map((change) => ({
          location: change.kind === 'Check' ? 'name' : '',
          message: `there is ${change.kind === 'Check' ? 'a check' : 'an assignment'} ${change.name} already; take another name`,
        })),
      };
    }
    await send(false);
    await navigate({ to: '/checks/$id', params: { id: check?.name ?? '' } });
  };
  return (
    <div className="editor">
      <Form
        save={save}
        button="Create the check"
        cancel={() =>
          void (url.system ? navigate({ to: '/systems/$id', params: { id: url.system } }) : navigate({ to: '/checks' }))
        }
        touches="/"
        dirty={check !== null}
        placeOf={placeOf}
      >
        <Card title="What">
          <div className="stack">
            <Select
              label="Strategy"
              description="How the target is reached."
              required
              searchable
              data={strategies
                .map((s) => ({ value: s.id, label: byTitle(s) }))
                .sort((a, b) => (a.label < b.label ? -1 : 1))}
              value={check?.spec.strategy ?? null}
              onChange={(id) => {
                const strategy = strategies.find((s) => s.id === id);
                if (strategy) setCheck({ name: check?.name ?? '', labels: check?.labels, spec: fresh(strategy) });
              }}
            />
            {check && <CheckBasics value={check} onChange={setCheck} />}
          </div>
        </Card>
        {check && (
          <>
            <CheckMeasures
              key={check.spec.strategy}
              strategies={strategies}
              value={check}
              onChange={setCheck}
              system={chosen[0]}
            />
            <Card title="Where">
              <div className="stack">
                <SystemsField
                  value={chosen}
                  onChange={setChosen}
                  systems={[...new Set([...(systems.data ?? []).map((s) => s.name), ...chosen])]}
                />
                {chosen.length > 0 && (
                  <WhereFields
                    value={where}
                    onChange={setWhere}
                    of={{
                      strategy: check.spec.strategy,
                      collectors: (check.spec.collectors ?? []).map((c) => c.collector),
                    }}
                  />
                )}
              </div>
            </Card>
            <AsDocument of={documents} />
          </>
        )}
      </Form>
    </div>
  );
}

function SystemsField({
  value,
  onChange,
  systems,
}: {
  value: string[];
  onChange: (v: string[]) => void;
  systems: string[];
}) {
  const wrong = useWrong('system');
  return (
    <MultiSelect
      label="For these systems"
      description="It runs for each of them. Without any it is saved, but does not run."
      searchable
      limit={100}
      data={systems}
      value={value}
      error={wrong}
      onChange={onChange}
    />
  );
}

export function EditCheck() {
  const { id } = useParams({ strict: false }) as { id: string };
  const check = queries.useQuery('get', '/checks/{id}', { params: { path: { id } } });
  const strategies = queries.useQuery('get', '/strategies', {});
  return (
    <>
      <Head title={`Edit ${check.data?.name ?? 'check'}`} crumb={<CheckCrumb id={id} name={check.data?.name} />} />
      <Read query={strategies}>
        {(list) => <Read query={check}>{(c) => <Changing key={c.id} strategies={list.items ?? []} of={c} />}</Read>}
      </Read>
    </>
  );
}

export const CheckCrumb = ({ id, name }: { id: string; name?: string }) => (
  <>
    <Link to="/checks">Checks</Link> ›{' '}
    <Link to="/checks/$id" params={{ id }}>
      {name ?? 'check'}
    </Link>
  </>
);

function Changing({ strategies, of: c }: { strategies: Strategy[]; of: Schemas['Check'] }) {
  const navigate = useNavigate();
  const update = queries.useMutation('put', '/checks/{id}');
  const [check, setCheck] = useState<CheckInput>({ name: c.name, labels: c.labels, spec: c.spec });
  const [first] = useState(check);
  const newest = queries.useQuery('get', '/results', {
    params: { query: { check: c.id, limit: 1, detail: true } },
  });
  const found = foundOf(newest.data?.items?.[0]?.result);
  const back = () => navigate({ to: '/checks/$id', params: { id: c.id } });
  return (
    <div className="editor">
      <Form
        save={async () => {
          await update.mutateAsync({ params: { path: { id: c.id } }, body: check });
          await back();
        }}
        button="Save"
        cancel={() => void back()}
        touches="/"
        dirty={check !== first}
      >
        <Card title="What" aside={<span className="mono">{c.spec.strategy}</span>}>
          <div className="stack">
            <CheckBasics value={check} onChange={setCheck} />
          </div>
        </Card>
        <CheckMeasures strategies={strategies} value={check} onChange={setCheck} before={found} saved={c.id} />
        <AsDocument of={[documentOf(check)]} />
      </Form>
    </div>
  );
}

/** What the collectors found, of a run's result. */
export function foundOf(result: unknown): Found {
  const metadata = (result as { metadata?: { collectors?: Found } } | null)?.metadata;
  return metadata?.collectors ?? {};
}

function CheckBasics({ value: c, onChange }: { value: CheckInput; onChange: (value: CheckInput) => void }) {
  const name = useWrong('name');
  const description = useWrong('spec.description');
  const interval = useWrong('spec.interval');
  const spec = (change: Partial<CheckInput['spec']>) => onChange({ ...c, spec: { ...c.spec, ...change } });
  return (
    <>
      <div className="fields">
        <TextInput
          label="Name"
          description="Unique; what people call it"
          required
          value={c.name}
          error={name}
          onChange={(e) => onChange({ ...c, name: e.currentTarget.value })}
        />
        <TextInput
          label="Every"
          description="10s, 5m, 1h30m"
          required
          value={String(c.spec.interval)}
          error={interval}
          onChange={(e) => spec({ interval: e.currentTarget.value.trim() })}
        />
      </div>
      <Textarea
        label="Description"
        autosize
        value={c.spec.description ?? ''}
        error={description}
        onChange={(e) => spec({ description: e.currentTarget.value || undefined })}
      />
      <MapField
        label="Labels"
        place="labels"
        add="Add a label"
        value={c.labels}
        onChange={(labels) => onChange({ ...c, labels: labels ?? {} })}
      />
      <Checkbox
        label="Paused: it is kept, but does not run"
        checked={c.spec.paused ?? false}
        onChange={(e) => spec({ paused: e.currentTarget.checked || undefined })}
      />
    </>
  );
}

/** How it is reached and what is measured, with what a run of it finds. */
function CheckMeasures({
  strategies,
  value: c,
  onChange,
  before = {},
  saved,
  system,
}: {
  strategies: Strategy[];
  value: CheckInput;
  onChange: (value: CheckInput) => void;
  before?: Found;
  saved?: string;
  system?: string;
}) {
  const [tried, setTried] = useState<Found | null>(null);
  const strategy = strategies.find((s) => s.id === c.spec.strategy);
  if (!strategy) return <p className="problem">This core does not know the strategy {c.spec.strategy}.</p>;
  const spec = (change: Partial<CheckInput['spec']>) => onChange({ ...c, spec: { ...c.spec, ...change } });
  return (
    <>
      <Card title={`How: ${byTitle(strategy)}`}>
        <div className="stack">
          <SchemaFields
            schema={strategy.schema as Schema}
            value={(c.spec.config ?? {}) as Record<string, unknown>}
            onChange={(config) => spec({ config })}
            place="spec.config"
            special={(key, field) => special(`${strategy.id}/${key}`, field)}
          />
        </div>
      </Card>
      <Card title="What is measured">
        <div className="stack">
          <Collectors
            strategy={strategy}
            value={c.spec.collectors ?? []}
            onChange={(collectors) => spec({ collectors })}
            found={tried ?? before}
            special={special}
          />
        </div>
      </Card>
      <TryCard check={c} saved={saved} system={system} found={setTried} />
    </>
  );
}

const documentOf = (c: CheckInput): Document => ({
  kind: 'Check',
  metadata: { name: c.name, labels: c.labels },
  spec: c.spec,
});

const assignmentOf = (check: string, system: string, where: Where): Document => ({
  kind: 'Assignment',
  metadata: { name: `${check}-${system}` },
  spec: { check, system, ...whereOf(where) },
});

/** The place of the form that a place among the documents is. */
function placeOf(location: string): string {
  const [, n, rest] = /^documents\[(\d+)\]\.(.*)$/.exec(location) ?? [];
  if (rest === undefined) return location;
  if (n === '0') return rest.replace(/^metadata\./, '');
  return rest.startsWith('metadata') ? 'system' : rest.replace(/^spec\./, '');
}
