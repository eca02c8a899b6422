import { NumberInput, Select, TextInput } from '@mantine/core';
import { useState } from 'react';
import { queries, type Schemas, useAll } from '../api/client';
import { Dialog } from '../ui/dialog';
import { Doing } from '../ui/form';
import { plural } from '../ui/span';
import { labelsOf } from './satellite-commands';
import { Enrol } from './satellite-create';

type Satellite = Schemas['Satellite'];
const HOUR = 3_600_000;

export function EditSatellite({ of: s, close }: { of: Satellite; close: () => void }) {
  const update = queries.useMutation('patch', '/satellites/{id}');
  const [form, setForm] = useState({
    name: s.name,
    region: s.region,
    labels: Object.entries(s.tags ?? {})
      .map(([k, v]) => `${k}=${v}`)
      .join(' '),
    threshold: s.offlineThresholdMs ? s.offlineThresholdMs / 1000 : ('' as number | string),
    weight: s.weight as number | string,
  });
  return (
    <Doing
      touches="/satellites"
      title={`Edit ${s.name}`}
      button="Save"
      close={close}
      run={async () => {
        await update.mutateAsync({
          params: { path: { id: s.id } },
          body: {
            name: form.name.trim(),
            region: form.region.trim(),
            tags: labelsOf(form.labels),
            offlineThresholdMs: form.threshold === '' ? null : Number(form.threshold) * 1000,
            weight: Number(form.weight),
          },
        });
        close();
      }}
    >
      <TextInput
        label="Name"
        required
        data-autofocus
        value={form.name}
        onChange={(e) => setForm({ ...form, name: e.currentTarget.value })}
      />
      <TextInput
        label="Region"
        value={form.region}
        onChange={(e) => setForm({ ...form, region: e.currentTarget.value })}
      />
      <TextInput
        label="Labels"
        description="key=value, with spaces between"
        value={form.labels}
        onChange={(e) => setForm({ ...form, labels: e.currentTarget.value })}
      />
      <NumberInput
        label="Counts as offline after (seconds)"
        description="15 to 86,400; 45 if empty"
        value={form.threshold}
        onChange={(threshold) => setForm({ ...form, threshold })}
        min={15}
        max={86_400}
      />
      <NumberInput
        label="Weight"
        description="Its share of seats where an assignment runs on so many, in proportion to others"
        value={form.weight}
        onChange={(weight) => setForm({ ...form, weight })}
        min={1}
        max={1000}
      />
    </Doing>
  );
}

export function RotateSatellite({ of: s, close }: { of: Satellite; close: () => void }) {
  const rotate = queries.useMutation('post', '/satellites/{id}/rotate-token');
  const [overlap, setOverlap] = useState('24');
  const [made, setMade] = useState<Schemas['SatelliteToken'] | null>(null);
  if (made) {
    return (
      <Dialog title={`New token of ${s.name}`} close={close} size="xl" keep>
        <Enrol made={made} done={close} />
      </Dialog>
    );
  }
  return (
    <Doing
      touches="/satellites"
      title={`Rotate the token of ${s.name}`}
      button="Make a new token"
      close={close}
      run={async () => {
        setMade(
          await rotate.mutateAsync({
            params: { path: { id: s.id } },
            body: { overlapMs: overlap === '0' ? null : Number(overlap) * HOUR },
          }),
        );
      }}
    >
      <Select
        label="The old token stays valid"
        allowDeselect={false}
        value={overlap}
        onChange={(v) => setOverlap(v ?? '24')}
        data={[
          { value: '0', label: 'not at all: it and its session end now' },
          { value: '1', label: 'for an hour' },
          { value: '24', label: 'for a day' },
          { value: '168', label: 'for a week' },
        ]}
      />
      <p className="quiet small">
        During the overlap both work, so that nothing is missed while you give the machine the new one.
      </p>
    </Doing>
  );
}

/** Says what goes with it before it goes. */
export function DeleteSatellite({ of: s, close, gone }: { of: Satellite; close: () => void; gone: () => void }) {
  const remove = queries.useMutation('delete', '/satellites/{id}');
  const assignments = useAll('/assignments');
  const [name, setName] = useState('');
  const mine = (assignments.data ?? []).filter((a) => (a.placed ?? []).includes(s.name));
  const only = mine.filter((a) => (a.placed ?? []).length === 1);
  return (
    <Doing
      touches="/satellites"
      title={`Delete ${s.name}`}
      button="Delete it"
      danger
      disabled={name !== s.name}
      close={close}
      run={async () => {
        await remove.mutateAsync({ params: { path: { id: s.id } } });
        gone();
      }}
    >
      <p>This goes with it, and cannot be undone:</p>
      <ul style={{ margin: 0 }}>
        <li>its token and its session{s.status === 'online' ? '; the process that runs now ends' : ''}</li>
        <li>
          {plural(mine.length, 'assignment')} that it runs
          {mine.length > 0 &&
            `: ${mine
              .slice(0, 8)
              .map((a) => `${a.check} of ${a.system}`)
              .join(', ')}${mine.length > 8 ? ', …' : ''}`}
        </li>
        {only.length > 0 && (
          <li className="tone-bad">
            {plural(only.length, 'check')} will run nowhere:{' '}
            {only
              .slice(0, 8)
              .map((a) => `${a.check} of ${a.system}`)
              .join(', ')}
            {only.length > 8 ? ', …' : ''}
          </li>
        )}
        {!!s.pulse?.spoolRecords && <li>{plural(s.pulse.spoolRecords, 'result')} that it has not sent yet</li>}
      </ul>
      <p className="quiet small">
        Results that it has sent stay until they are too old. To keep it and give it nothing to do, drain it.
      </p>
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
