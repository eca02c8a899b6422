import { Autocomplete, Button, Select, TextInput } from '@mantine/core';
import type { Schemas } from '../api/client';
import { useWrong } from '../ui/form';
import { type Schema, SchemaFields, type Special } from '../ui/schema-fields';
import { type Assertion, choicesOf, OPERATORS, textOf, typedOf } from './assertions';

type Collector = Schemas['Collector'];
/** What the collectors of a run found, by their ids. */
export type Found = Record<string, Record<string, unknown>>;

const shortOf = (id: string) => id.replace(/^.*\./, '');

/** A name that no other collector of the check has. */
export function freeId(id: string, taken: string[]): string {
  const name = shortOf(id);
  for (let n = 1; ; n++) if (!taken.includes(n === 1 ? name : `${name}-${n}`)) return n === 1 ? name : `${name}-${n}`;
}

/** What is measured, and what must hold of it. */
export function Collectors({
  strategy,
  value,
  onChange,
  found,
  special,
}: {
  strategy: Schemas['Strategy'];
  value: Collector[];
  onChange: (value: Collector[]) => void;
  found: Found;
  special: Special;
}) {
  const wrong = useWrong('spec.collectors');
  const titleOf = (id: string) =>
    (strategy.collectors?.find((c) => c.id === id)?.schema as Schema | undefined)?.title ?? shortOf(id);
  const kinds = (strategy.collectors ?? []).map((c) => c.id);
  const add = (collector: string) =>
    onChange([
      ...value,
      {
        id: freeId(
          collector,
          value.map((c) => c.id),
        ),
        collector,
        config: {},
        assertions: [],
      },
    ]);
  return (
    <>
      {value.map((c, i) => (
        <OneCollector
          key={`${value.length}/${i}`}
          schema={strategy.collectors?.find((k) => k.id === c.collector)?.schema as Schema | undefined}
          value={c}
          onChange={(next) => onChange(value.with(i, next))}
          remove={() => onChange(value.toSpliced(i, 1))}
          found={found[c.id]}
          place={`spec.collectors[${i}]`}
          special={special}
        />
      ))}
      {wrong && (
        <p className="tone-bad" role="alert">
          {wrong}
        </p>
      )}
      <div className="row">
        {kinds.map((k) => (
          <Button key={k} variant="default" onClick={() => add(k)}>
            Add {titleOf(k)}
          </Button>
        ))}
      </div>
    </>
  );
}

function OneCollector({
  schema,
  value: c,
  onChange,
  remove,
  found,
  place,
  special,
}: {
  schema?: Schema;
  value: Collector;
  onChange: (value: Collector) => void;
  remove: () => void;
  found?: Record<string, unknown>;
  place: string;
  special: Special;
}) {
  const idWrong = useWrong(`${place}.id`);
  const wrong = useWrong(`${place}.collector`);
  const assertions = c.assertions ?? [];
  const set = (next: Assertion[]) => onChange({ ...c, assertions: next });
  const choices = choicesOf(found ?? {});
  return (
    <fieldset className="group">
      <legend>
        {schema?.title ?? c.collector} <span className="quiet mono">{c.collector}</span>
      </legend>
      <div className="row" style={{ alignItems: 'flex-end' }}>
        <TextInput
          label="Id"
          description="Messages and results call it so."
          required
          value={c.id}
          error={idWrong ?? wrong}
          onChange={(e) => onChange({ ...c, id: e.currentTarget.value })}
          style={{ flex: '1 1 12rem' }}
        />
        <Button variant="default" onClick={remove} aria-label={`Remove ${c.id}`}>
          Remove
        </Button>
      </div>
      {schema ? (
        <SchemaFields
          schema={schema}
          value={(c.config ?? {}) as Record<string, unknown>}
          onChange={(config) => onChange({ ...c, config })}
          place={`${place}.config`}
          special={(key, field) => special(`${c.collector}/${key}`, field)}
        />
      ) : (
        <p className="tone-bad">
          This core does not know this collector. Remove it, or save the check on a core that does.
        </p>
      )}
      <h3>What must hold</h3>
      {assertions.length === 0 && (
        <p className="quiet small">Nothing yet: a run fails only when the measurement itself does.</p>
      )}
      {assertions.map((a, i) => (
        <AssertionRow
          key={`${assertions.length}/${i}`}
          value={a}
          n={i + 1}
          fields={[...new Set(choices.map((choice) => choice.field))]}
          onChange={(next) => set(assertions.with(i, next))}
          remove={() => set(assertions.toSpliced(i, 1))}
          place={`${place}.assertions[${i}]`}
        />
      ))}
      <div>
        <Button
          variant="default"
          size="compact-sm"
          onClick={() => set([...assertions, { field: '', operator: 'equals' }])}
          aria-label={`Add an assertion to ${c.id}`}
        >
          Add an assertion
        </Button>
        <Button
          variant="default"
          size="compact-sm"
          onClick={() => set([...assertions, { expression: '' }])}
          aria-label={`Add an expression to ${c.id}`}
        >
          Add an expression
        </Button>
      </div>
      {choices.length > 0 && (
        <details open>
          <summary>What the run found: choose what must hold</summary>
          <ul className="list choices" aria-label={`What the run found of ${c.id}`}>
            {choices.map((choice) => (
              <li key={`${choice.field}${choice.jsonPath ?? ''}`}>
                <span className="mono">
                  {choice.field} {choice.jsonPath}
                </span>
                <span className="reason mono quiet">{textOf(choice.value).slice(0, 120)}</span>
                <Button
                  variant="default"
                  size="compact-sm"
                  aria-label={`Expect that ${sentence(choice.suggestion)}`}
                  onClick={() => set([...assertions, choice.suggestion])}
                >
                  {OPERATORS[choice.suggestion.operator ?? '']?.words} {textOf(choice.suggestion.value)}
                </Button>
              </li>
            ))}
          </ul>
        </details>
      )}
    </fieldset>
  );
}

/** An assertion as one says it. */
export const sentence = (a: Assertion): string =>
  a.expression ??
  [a.field, a.jsonPath, OPERATORS[a.operator ?? '']?.words ?? a.operator, textOf(a.value)].filter(Boolean).join(' ');

function AssertionRow({
  value: a,
  n,
  fields,
  onChange,
  remove,
  place,
}: {
  value: Assertion;
  n: number;
  fields: string[];
  onChange: (value: Assertion) => void;
  remove: () => void;
  place: string;
}) {
  const wrong = useWrong(place, true);
  const operator = OPERATORS[a.operator ?? ''];
  return (
    <fieldset className="plain" aria-label={`Assertion ${n}`}>
      {a.expression !== undefined ? (
        <div className="row">
          <TextInput
            aria-label={`Assertion ${n}: expression`}
            placeholder="result.statusCode in [200, 204]"
            className="mono"
            required
            value={a.expression}
            onChange={(e) => onChange({ expression: e.currentTarget.value })}
            style={{ flex: '6 1 18rem' }}
          />
          <Button variant="default" size="compact-sm" onClick={remove} aria-label={`Remove assertion ${n}`}>
            Remove
          </Button>
        </div>
      ) : (
        <div className="row">
          <Autocomplete
            aria-label={`Assertion ${n}: field`}
            placeholder="field, such as statusCode"
            data={fields}
            required
            value={a.field}
            onChange={(field) => onChange({ ...a, field })}
            style={{ flex: '2 1 9rem' }}
          />
          <TextInput
            aria-label={`Assertion ${n}: JSONPath`}
            placeholder="JSONPath, if any"
            value={a.jsonPath ?? ''}
            onChange={(e) => onChange({ ...a, jsonPath: e.currentTarget.value || undefined })}
            style={{ flex: '2 1 8rem' }}
          />
          <Select
            aria-label={`Assertion ${n}: comparison`}
            data={Object.entries(OPERATORS).map(([value, { words }]) => ({ value, label: words }))}
            value={a.operator}
            allowDeselect={false}
            onChange={(v) =>
              onChange({ ...a, operator: v ?? 'equals', ...(v && OPERATORS[v]?.value ? {} : { value: undefined }) })
            }
            style={{ flex: '2 1 9rem' }}
          />
          {operator?.value !== false && (
            <TypedValue
              label={`Assertion ${n}: value`}
              value={a.value}
              onChange={(value) => onChange({ ...a, value })}
            />
          )}
          <Button variant="default" size="compact-sm" onClick={remove} aria-label={`Remove assertion ${n}`}>
            Remove
          </Button>
        </div>
      )}
      {wrong && (
        <p className="tone-bad small" role="alert">
          {wrong}
        </p>
      )}
    </fieldset>
  );
}

/** A value of whatever type; what was typed stays as it was typed. */
function TypedValue({ label, value, onChange }: { label: string; value: unknown; onChange: (value: unknown) => void }) {
  return (
    <TextInput
      aria-label={label}
      placeholder="value"
      defaultValue={textOf(value)}
      onChange={(e) => onChange(typedOf(e.currentTarget.value))}
      style={{ flex: '2 1 7rem' }}
    />
  );
}
