import { Button, Input, TextInput } from '@mantine/core';
import { useState } from 'react';
import { useWrong } from './form';

/** Keys with a text each: labels, headers, variables. Another value than a text stays as it is until it is changed. */
export function MapField<T = string>({
  label,
  description,
  value,
  onChange,
  place,
  add = 'Add one',
}: {
  label: string;
  description?: string;
  value: Record<string, unknown> | null | undefined;
  onChange: (value: Record<string, T> | undefined) => void;
  place: string;
  add?: string;
}) {
  const [rows, setRows] = useState(() => Object.entries(value ?? {}) as [string, T][]);
  const wrong = useWrong(place, true);
  const set = (next: [string, T][]) => {
    setRows(next);
    const entries = next.map(([k, v]) => [k.trim(), v] as const).filter(([k]) => k);
    onChange(entries.length ? Object.fromEntries(entries) : undefined);
  };
  return (
    <Input.Wrapper
      label={label}
      description={description}
      error={wrong}
      labelElement="div"
      role="group"
      aria-label={label}
    >
      <div className="rows">
        {rows.map(([key, text], i) => (
          <div className="row" key={i}>
            <TextInput
              aria-label={`${label}: key ${i + 1}`}
              placeholder="key"
              value={key}
              onChange={(e) => set(rows.with(i, [e.currentTarget.value, text]))}
              style={{ flex: '1 1 7rem' }}
            />
            <TextInput
              aria-label={`${label}: value ${i + 1}`}
              placeholder="value"
              value={typeof text === 'string' ? text : JSON.stringify(text)}
              onChange={(e) => set(rows.with(i, [key, e.currentTarget.value as T]))}
              style={{ flex: '2 1 9rem' }}
            />
            <Button
              variant="default"
              size="compact-sm"
              aria-label={`Remove ${key || `row ${i + 1}`} from ${label}`}
              onClick={() => set(rows.toSpliced(i, 1))}
            >
              Remove
            </Button>
          </div>
        ))}
        <Button
          variant="default"
          size="compact-sm"
          onClick={() => set([...rows, ['', '' as T]])}
          aria-label={`${add} to ${label}`}
        >
          {add}
        </Button>
      </div>
    </Input.Wrapper>
  );
}
