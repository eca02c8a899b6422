import { MultiSelect, SegmentedControl, Select, Textarea, TextInput } from '@mantine/core';
import { Link, useNavigate, useParams } from '@tanstack/react-router';
import { useState } from 'react';
import { clockAhead, queries, type Schemas, useAll } from '../api/client';
import { AsDocument } from '../ui/document';
import { Editor } from '../ui/editor';
import { useWrong } from '../ui/form';
import { MapField } from '../ui/map-field';
import { Card, Head, Read } from '../ui/page';
import { useUrl } from '../ui/url';

type MaintenanceInput = Schemas['MaintenanceInput'];
const HOUR = 3_600_000;

export function NewMaintenance() {
  const [url] = useUrl();
  const create = queries.useMutation('post', '/maintenances');
  const [first] = useState((): MaintenanceInput => {
    const start = new Date(Date.now() + clockAhead);
    start.setSeconds(0, 0);
    return {
      name: '',
      systems: url.system ? { names: [url.system] } : {},
      mode: 'mute',
      start: start.toISOString(),
      end: new Date(start.getTime() + HOUR).toISOString(),
    };
  });
  return (
    <>
      <Head title="Plan a maintenance" crumb={<Link to="/maintenances">Maintenance</Link>} />
      <Editing first={first} save={(body) => create.mutateAsync({ body })} button="Plan it" />
    </>
  );
}

export function EditMaintenance() {
  const { id } = useParams({ strict: false }) as { id: string };
  const maintenance = queries.useQuery('get', '/maintenances/{id}', { params: { path: { id } } });
  const update = queries.useMutation('put', '/maintenances/{id}');
  return (
    <>
      <Head
        title={`Edit ${maintenance.data?.name ?? 'maintenance'}`}
        crumb={<Link to="/maintenances">Maintenance</Link>}
      />
      <Read query={maintenance}>
        {(m) => (
          <Editing
            key={m.id}
            first={{
              name: m.name,
              description: m.description,
              labels: m.labels,
              mode: m.mode,
              systems: m.systems,
              ...(m.checks?.length ? { checks: m.checks } : {}),
              ...(m.schedule ? { schedule: m.schedule } : { start: m.start ?? undefined, end: m.end ?? undefined }),
            }}
            save={(body) => update.mutateAsync({ params: { path: { id: m.id } }, body })}
            button="Save"
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
}: {
  first: MaintenanceInput;
  save: (m: MaintenanceInput) => Promise<unknown>;
  button: string;
}) {
  const navigate = useNavigate();
  const leave = () => navigate({ to: '/maintenances' });
  return (
    <Editor
      first={first}
      save={async (draft) => {
        await save(draft);
        await leave();
      }}
      button={button}
      cancel={() => void leave()}
      touches="/"
    >
      {(draft, change) => {
        const { name, labels, ...spec } = draft;
        return (
          <>
            <Card title="Of what">
              <div className="stack">
                <Covered value={draft} onChange={change} />
              </div>
            </Card>
            <Card title="When">
              <div className="stack">
                <Times value={draft} onChange={change} />
              </div>
            </Card>
            <AsDocument of={[{ kind: 'Maintenance', metadata: { name, labels }, spec }]} />
          </>
        );
      }}
    </Editor>
  );
}

type Part = { value: MaintenanceInput; onChange: (m: MaintenanceInput) => void };

function Covered({ value: m, onChange }: Part) {
  const systems = useAll('/systems');
  const checks = useAll('/checks');
  const wrong = {
    name: useWrong('name'),
    description: useWrong('description'),
    names: useWrong('systems.names', true),
    systems: useWrong('systems'),
    selector: useWrong('systems.selector'),
    checks: useWrong('checks', true),
    mode: useWrong('mode'),
  };
  const set = (change: Schemas['Selector']) => onChange({ ...m, systems: { ...m.systems, ...change } });
  const names = m.systems.names ?? [];
  const only = m.checks ?? [];
  return (
    <>
      <TextInput
        label="Name"
        description="Unique; what people call it"
        required
        value={m.name}
        error={wrong.name}
        onChange={(e) => onChange({ ...m, name: e.currentTarget.value })}
      />
      <Textarea
        label="Why"
        autosize
        value={m.description ?? ''}
        error={wrong.description}
        onChange={(e) => onChange({ ...m, description: e.currentTarget.value })}
      />
      <MultiSelect
        label="Systems"
        searchable
        limit={100}
        data={[...new Set([...(systems.data ?? []).map((s) => s.name), ...names])]}
        value={names}
        error={wrong.names ?? wrong.systems}
        onChange={(v) => set({ names: v.length ? v : undefined })}
      />
      <TextInput
        label="And all systems that match"
        description="A selector of labels, such as team=web, env in (test, staging)"
        value={m.systems.selector ?? ''}
        error={wrong.selector}
        onChange={(e) => set({ selector: e.currentTarget.value || undefined })}
      />
      <MultiSelect
        label="Only these checks"
        description="All of their checks if none is chosen."
        searchable
        limit={100}
        data={[...new Set([...(checks.data ?? []).map((c) => c.name), ...only])]}
        value={only}
        error={wrong.checks}
        onChange={(v) => onChange({ ...m, checks: v.length ? v : undefined })}
      />
      <Select
        label="Meanwhile, checks"
        allowDeselect={false}
        data={[
          { value: 'mute', label: 'run and are judged; nobody is alarmed' },
          { value: 'pause', label: 'do not run' },
        ]}
        value={m.mode ?? 'mute'}
        error={wrong.mode}
        onChange={(mode) => onChange({ ...m, mode: mode ?? 'mute' })}
      />
      <MapField
        label="Labels"
        place="labels"
        add="Add a label"
        value={m.labels}
        onChange={(labels) => onChange({ ...m, labels: labels ?? {} })}
      />
    </>
  );
}

/** A moment as a field for local times has it. */
const local = (at: string | undefined): string => {
  if (!at) return '';
  const moment = new Date(at);
  return new Date(moment.getTime() - moment.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
};
const instant = (text: string): string | undefined => (text ? new Date(text).toISOString() : undefined);

function Times({ value: m, onChange }: Part) {
  const wrong = {
    start: useWrong('start'),
    end: useWrong('end'),
    schedule: useWrong('schedule'),
    cron: useWrong('schedule.cron'),
    duration: useWrong('schedule.duration'),
    timeZone: useWrong('schedule.timeZone'),
  };
  const again = m.schedule;
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const turn = (how: string) => {
    const { start, end, schedule, ...rest } = m;
    onChange(
      how === 'again'
        ? { ...rest, schedule: { cron: '30 2 * * 0', duration: '1h', timeZone: zone } }
        : {
            ...rest,
            start: new Date(Date.now() + clockAhead).toISOString(),
            end: new Date(Date.now() + clockAhead + HOUR).toISOString(),
          },
    );
  };
  return (
    <>
      <SegmentedControl
        aria-label="How often"
        value={again ? 'again' : 'once'}
        onChange={turn}
        data={[
          { value: 'once', label: 'Once' },
          { value: 'again', label: 'On a schedule' },
        ]}
      />
      {again ? (
        <div className="fields">
          <TextInput
            label="Cron"
            description="minute hour day month weekday"
            required
            value={again.cron}
            error={wrong.cron ?? wrong.schedule}
            onChange={(e) => onChange({ ...m, schedule: { ...again, cron: e.currentTarget.value } })}
          />
          <TextInput
            label="Lasts"
            description="30m, 2h"
            required
            value={String(again.duration)}
            error={wrong.duration}
            onChange={(e) => onChange({ ...m, schedule: { ...again, duration: e.currentTarget.value } })}
          />
          <TextInput
            label="Time zone"
            description="UTC if empty"
            value={again.timeZone ?? ''}
            error={wrong.timeZone}
            onChange={(e) => onChange({ ...m, schedule: { ...again, timeZone: e.currentTarget.value || undefined } })}
          />
        </div>
      ) : (
        <div className="fields">
          <TextInput
            type="datetime-local"
            label="From"
            description={`by ${zone}`}
            value={local(m.start)}
            error={wrong.start}
            onChange={(e) => onChange({ ...m, start: instant(e.currentTarget.value) })}
          />
          <TextInput
            type="datetime-local"
            label="Until"
            description={`by ${zone}`}
            required
            value={local(m.end)}
            error={wrong.end}
            onChange={(e) => onChange({ ...m, end: instant(e.currentTarget.value) })}
          />
        </div>
      )}
    </>
  );
}
