import { MultiSelect, Select, Textarea, TextInput } from '@mantine/core';
import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { queries, type Schemas, useAll } from '../api/client';
import { Doing, useWrong } from '../ui/form';

type IncidentInput = Schemas['IncidentInput'];

/** Opens an incident that people have seen. */
export function OpenIncident({ close }: { close: () => void }) {
  const open = queries.useMutation('post', '/incidents');
  const navigate = useNavigate();
  const [draft, setDraft] = useState<IncidentInput>({ title: '', severity: 'minor' });
  return (
    <Doing
      title="Open an incident"
      button="Open it"
      close={close}
      touches="/incidents"
      run={async () => {
        const { id } = await open.mutateAsync({ body: draft });
        close();
        await navigate({ to: '/incidents/$id', params: { id } });
      }}
    >
      <Fields value={draft} onChange={setDraft} />
    </Doing>
  );
}

function Fields({ value: i, onChange }: { value: IncidentInput; onChange: (i: IncidentInput) => void }) {
  const systems = useAll('/systems');
  const titleWrong = useWrong('title');
  const severityWrong = useWrong('severity');
  const systemsWrong = useWrong('systems', true);
  const textWrong = useWrong('text');
  return (
    <>
      <TextInput
        label="Title"
        description="What people notice of it"
        required
        data-autofocus
        value={i.title}
        error={titleWrong}
        onChange={(e) => onChange({ ...i, title: e.currentTarget.value })}
      />
      <Select
        label="Severity"
        allowDeselect={false}
        data={['minor', 'major', 'critical']}
        value={i.severity}
        error={severityWrong}
        onChange={(v) => v && onChange({ ...i, severity: v as IncidentInput['severity'] })}
      />
      <MultiSelect
        label="Systems"
        searchable
        limit={100}
        data={(systems.data ?? []).map((s) => s.name)}
        value={i.systems ?? []}
        error={systemsWrong}
        onChange={(v) => onChange({ ...i, systems: v })}
      />
      <Textarea
        label="What is known"
        autosize
        minRows={2}
        value={i.text ?? ''}
        error={textWrong}
        onChange={(e) => onChange({ ...i, text: e.currentTarget.value })}
      />
    </>
  );
}
