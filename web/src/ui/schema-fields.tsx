import { Button, Checkbox, NumberInput, Select, TagsInput, Textarea, TextInput } from '@mantine/core';
import { type ReactNode, useState } from 'react';
import { useAnyWrong, useWrong } from './form';
import { MapField } from './map-field';
import { SecretField } from './secret-field';

/** What we use of JSON Schema, as the core writes it. */
export interface Schema {
  type?: string;
  title?: string;
  description?: string;
  enum?: string[];
  default?: unknown;
  minimum?: number;
  maximum?: number;
  minItems?: number;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  additionalProperties?: boolean | Schema;
  'x-secret'?: boolean | 'reference'; // only a reference to a secret, or also a value
  'x-templatable'?: boolean;
}

type Values = Record<string, unknown>;

/** A field that is drawn in another way than its schema says, or undefined. */
export type Special = (key: string, field: FieldOf) => ReactNode | undefined;

export interface FieldOf {
  label: string;
  description?: string;
  value: unknown;
  onChange: (value: unknown) => void;
  place: string;
  required?: boolean;
  /** The object that it is a field of. */
  of: Values;
}

/** The object with a value, or without it when there is none. */
export function withValue(values: Values, key: string, value: unknown): Values {
  const { [key]: _, ...rest } = values;
  return value === undefined || value === '' ? rest : { ...values, [key]: value };
}

/** A form of an object's schema: what is required or set is seen, the rest on demand. */
export function SchemaFields({
  schema,
  value,
  onChange,
  place,
  special,
}: {
  schema: Schema;
  value: Values;
  onChange: (value: Values) => void;
  place: string;
  special?: Special;
}) {
  const [first] = useState(() => {
    const keys = Object.keys(schema.properties ?? {});
    const seen = keys.filter((k) => schema.required?.includes(k) || value[k] !== undefined);
    return new Set(seen.length || keys.length > 3 ? seen : keys);
  });
  const anyWrong = useAnyWrong(`${place}.`);
  const draw = (key: string) => (
    <Field
      key={key}
      name={key}
      schema={schema.properties?.[key] as Schema}
      required={schema.required?.includes(key)}
      value={value[key]}
      of={value}
      onChange={(v) => onChange(withValue(value, key, v))}
      place={`${place}.${key}`}
      special={special}
    />
  );
  const keys = Object.keys(schema.properties ?? {});
  const rest = keys.filter((k) => !first.has(k));
  return (
    <>
      {keys.filter((k) => first.has(k)).map(draw)}
      {rest.length > 0 && (
        <details open={anyWrong || undefined}>
          <summary>More: {rest.map((k) => (schema.properties?.[k]?.title ?? k).toLowerCase()).join(', ')}</summary>
          <div className="stack inset">{rest.map(draw)}</div>
        </details>
      )}
    </>
  );
}

function Field({
  name,
  schema,
  required,
  value,
  of,
  onChange,
  place,
  special,
}: {
  name: string;
  schema: Schema;
  required?: boolean;
  value: unknown;
  of: Values;
  onChange: (value: unknown) => void;
  place: string;
  special?: Special;
}) {
  const error = useWrong(place, schema.type === 'array' && schema.items?.type !== 'object');
  const label = schema.title ?? name;
  const standard = schema.default === undefined ? undefined : String(schema.default);
  // Of those that are common enough the description says so itself.
  const said = /templates/i.test(schema.description ?? '');
  const description = [schema.description, schema['x-templatable'] && !said && 'Takes templates {{ … }}.']
    .filter(Boolean)
    .join(' ');
  const own = special?.(name, { label, description, value, of, onChange, place, required });
  if (own) return own;
  const common = { label, description, error, required };
  const text = {
    ...common,
    value: (value as string) ?? '',
    placeholder: standard,
    onChange: (e: { currentTarget: { value: string } }) => onChange(e.currentTarget.value),
  };
  if (schema['x-secret'])
    return (
      <SecretField
        {...common}
        only={schema['x-secret'] === 'reference'}
        value={(value as string) ?? ''}
        onChange={onChange}
      />
    );
  if (schema.enum) {
    return (
      <Select
        {...common}
        data={schema.enum.filter(Boolean)}
        value={(value as string) ?? null}
        placeholder={standard ?? 'default'}
        clearable={!required}
        onChange={(v) => onChange(v ?? undefined)}
      />
    );
  }
  switch (schema.type) {
    case 'boolean':
      return (
        <Checkbox
          label={label}
          description={description}
          error={error}
          checked={(value as boolean | undefined) ?? schema.default === true}
          onChange={(e) => onChange(e.currentTarget.checked)}
        />
      );
    case 'integer':
    case 'number':
      return (
        <NumberInput
          {...common}
          value={(value as number | undefined) ?? ''}
          placeholder={standard}
          min={schema.minimum}
          max={schema.maximum}
          clampBehavior="none"
          allowDecimal={schema.type === 'number'}
          onChange={(v) => onChange(v === '' ? undefined : v)}
        />
      );
    case 'array':
      return schema.items?.type === 'object' ? (
        <ListField schema={schema} label={label} description={description} {...{ value, onChange, place, special }} />
      ) : (
        <TagsInput
          {...common}
          placeholder="type one, press Enter"
          value={(value as string[] | undefined) ?? []}
          onChange={(v) => onChange(v.length ? v : undefined)}
        />
      );
    case 'object':
      return schema.properties ? (
        <fieldset className="group">
          <legend>{label}</legend>
          {error && (
            <p className="tone-bad small" role="alert">
              {error}
            </p>
          )}
          <SchemaFields
            schema={schema}
            value={(value as Values | undefined) ?? {}}
            onChange={(v) => onChange(Object.keys(v).length ? v : undefined)}
            place={place}
            special={special}
          />
        </fieldset>
      ) : (
        <MapField {...{ label, description, onChange, place }} value={value as Record<string, string> | undefined} />
      );
    default:
      return ['body', 'query', 'script'].includes(name) ? (
        <Textarea {...text} autosize minRows={2} maxRows={20} classNames={{ input: 'mono' }} />
      ) : (
        <TextInput {...text} />
      );
  }
}

/** A list of objects: headers, steps. */
function ListField({
  schema,
  label,
  description,
  value,
  onChange,
  place,
  special,
}: {
  schema: Schema;
  label: string;
  description: string;
  value: unknown;
  onChange: (value: unknown) => void;
  place: string;
  special?: Special;
}) {
  const list = (value as Values[] | undefined) ?? [];
  const error = useWrong(place);
  const set = (next: Values[]) => onChange(next.length ? next : undefined);
  return (
    <fieldset className="group">
      <legend>{label}</legend>
      <p className="quiet small">{description}</p>
      {list.map((one, i) => (
        <div className="stack inset" key={`${list.length}/${i}`}>
          <SchemaFields
            schema={schema.items as Schema}
            value={one}
            onChange={(v) => set(list.with(i, v))}
            place={`${place}[${i}]`}
            special={special}
          />
          <div>
            <Button variant="default" size="compact-sm" onClick={() => set(list.toSpliced(i, 1))}>
              Remove
            </Button>
          </div>
        </div>
      ))}
      {error && (
        <p className="tone-bad small" role="alert">
          {error}
        </p>
      )}
      <div>
        <Button variant="default" size="compact-sm" aria-label={`Add to ${label}`} onClick={() => set([...list, {}])}>
          Add
        </Button>
      </div>
    </fieldset>
  );
}
