import { TextInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import { useDeferredValue, useMemo, useState } from 'react';
import { stringify } from 'yaml';
import { api, type Problem, queries, type Schemas } from '../api/client';
import type { Language, Mistake } from '../ui/code';
import { CodeField } from '../ui/code-field';
import { Form, useWrong } from '../ui/form';
import { May } from '../ui/may';
import { Card, Head } from '../ui/page';
import { DryRun } from './automation-dry-run';
import { mistakesOf, read } from './automation-mistakes';
import { outlineOf, type Said } from './automation-outline';

type Automation = Schemas['Automation'];

const FIRST = `description: ''
triggers:
  - event: satellite.heartbeat_lost
    for: {minutes: 5}
actions:
  - action: notify
    config:
      title: \${{ trigger.payload.name }} is silent
`;

export function NewAutomation() {
  const navigate = useNavigate();
  return (
    <>
      <Head title="New automation" crumb={<Link to="/automations">Automations</Link>} />
      <AutomationEditor
        button="Create the automation"
        cancel={() => void navigate({ to: '/automations' })}
        save={async (body) => {
          const { data, error } = await api.POST('/automations', { body: body as never });
          if (!data) throw error;
          await navigate({ to: '/automations/$id', params: { id: data.id } });
        }}
      />
    </>
  );
}

/** Changes an automation: its definition in YAML, told in words beside it, and tried on what has happened. */
export function EditAutomation({ of: a }: { of: Automation }) {
  const update = queries.useMutation('put', '/automations/{id}');
  return (
    <AutomationEditor
      of={a}
      button="Save"
      save={(body) => update.mutateAsync({ params: { path: { id: a.id } }, body: body as never })}
    />
  );
}

function AutomationEditor({
  of: a,
  button,
  cancel,
  save,
}: {
  of?: Automation;
  button: string;
  cancel?: () => void; // without one there is nowhere to go back to, and changes are undone
  save: (body: object) => Promise<unknown>;
}) {
  const [first] = useState(() => (a ? stringify(a.definition, { lineWidth: 110 }) : FIRST));
  const [text, setText] = useState(first);
  const [name, setName] = useState(a?.name ?? '');
  const [mistakes, setMistakes] = useState<Mistake[]>([]);
  const dirty = text !== first || name !== (a?.name ?? '');
  const undo = () => {
    setText(first);
    setName(a?.name ?? '');
    setMistakes([]);
  };
  const schema = useQuery({
    queryKey: ['get', '/automations/schema'],
    queryFn: async () => {
      const { data, error } = await api.GET('/automations/schema', {});
      if (!data) throw error;
      return data as object;
    },
  });
  const language = useMemo((): Language => ({ of: 'yaml', schema: schema.data }), [schema.data]);
  const seen = useDeferredValue(text);
  const outline = useMemo(() => {
    const { definition, mistakes } = read(seen);
    return mistakes.length ? null : outlineOf(definition);
  }, [seen]);
  const definition = async () => {
    const { definition, mistakes } = read(text);
    setMistakes(mistakes);
    if (mistakes.length) throw { detail: `Line ${mistakes[0]?.line} is not valid YAML: ${mistakes[0]?.message}` };
    return definition;
  };
  const checked = async <T,>(what: () => Promise<T>): Promise<T> => {
    try {
      const done = await what();
      setMistakes([]);
      return done;
    } catch (error) {
      if ((error as Problem).errors?.length) setMistakes(mistakesOf(text, error as Problem));
      throw error;
    }
  };
  return (
    <>
      <Form
        save={() =>
          checked(async () => {
            await save({
              name,
              labels: a?.labels ?? {},
              ...(a ? { enabled: a.enabled } : {}),
              definition: await definition(),
            });
          })
        }
        button={button}
        touches="/automation"
        may={a ? 'update-automation' : 'create-automation'}
        dirty={dirty}
        {...(cancel ? { cancel } : dirty ? { cancel: undo, cancelWord: 'Undo' } : {})}
      >
        <Card title="Definition" aside={a ? `revision ${a.revision}` : undefined}>
          <div className="beside">
            <div className="stack">
              <NameField value={name} onChange={setName} />
              <CodeField
                label="Definition in YAML"
                description="Ctrl-Space offers what fits."
                value={text}
                onChange={setText}
                language={language}
                mistakes={mistakes}
              />
            </div>
            <section aria-label="What it says">
              <h3>What it says</h3>
              {outline ? (
                <Outline of={outline} />
              ) : (
                <p className="quiet">It cannot be read yet: it is not valid YAML.</p>
              )}
            </section>
          </div>
        </Card>
      </Form>
      <div style={{ marginTop: '1rem' }}>
        <May to="dry-run-automation">
          <DryRun name={name} definition={definition} checked={checked} />
        </May>
      </div>
    </>
  );
}

function NameField({ value, onChange }: { value: string; onChange: (name: string) => void }) {
  const wrong = useWrong('name');
  return (
    <TextInput label="Name" required value={value} error={wrong} onChange={(e) => onChange(e.currentTarget.value)} />
  );
}

function Outline({ of: said }: { of: Said[] }) {
  return (
    <ul className="outline">
      {said.map((s, i) => (
        <li key={`${i}/${s.text}`}>
          {s.text}
          {s.below.length > 0 && <Outline of={s.below} />}
        </li>
      ))}
    </ul>
  );
}
