import { PasswordInput, Select } from '@mantine/core';
import { useAll } from '../api/client';

const REFERENCE = /^\$\{\{\s*secrets\.([A-Za-z][A-Za-z0-9_-]*)\s*\}\}$/;
const SEALED = /^__hcsecret__:/;

/** A credential: a reference to a secret, or a value that the core seals when it is saved. */
export function SecretField({
  label,
  description,
  error,
  required,
  only,
  value,
  onChange,
}: {
  label: string;
  description?: string;
  error?: string;
  required?: boolean;
  only?: boolean; // no value may be typed
  value: string;
  onChange: (value: string) => void;
}) {
  const secrets = useAll('/secrets');
  const name = REFERENCE.exec(value)?.[1] ?? null;
  const sealed = SEALED.test(value);
  const names = [...new Set([...(secrets.data ?? []).map((s) => s.name), ...(name ? [name] : [])])];
  const select = {
    placeholder: names.length ? (only ? 'choose a secret' : 'or a secret') : 'no secrets yet',
    clearable: true,
    searchable: true,
    limit: 100,
    data: names,
    value: name,
    onChange: (v: string | null) => onChange(v ? `\${{ secrets.${v} }}` : ''),
  };
  if (only) return <Select label={label} description={description} error={error} required={required} {...select} />;
  return (
    <div className="row" style={{ alignItems: 'flex-end' }}>
      <PasswordInput
        label={label}
        description={`${description ?? ''} A value that is typed here is sealed when it is saved.`.trim()}
        error={error}
        required={required && !name && !sealed}
        autoComplete="off"
        value={name || sealed ? '' : value}
        placeholder={name ? `the secret ${name}` : sealed ? 'sealed; type to replace it' : undefined}
        onChange={(e) => onChange(e.currentTarget.value)}
        style={{ flex: '2 1 14rem' }}
      />
      <Select aria-label={`${label}: secret`} {...select} style={{ flex: '1 1 9rem' }} />
    </div>
  );
}
