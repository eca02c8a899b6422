import { Input } from '@mantine/core';
import { lazy, Suspense } from 'react';
import type { Language, Mistake } from './code';

const Code = lazy(() => import('./code'));

/** The editor of code as a field; it is loaded when it is first seen. */
export function CodeField({
  label,
  description,
  error,
  mistakes,
  required,
  value,
  onChange,
  language,
}: {
  label: string;
  description?: string;
  error?: string;
  mistakes?: Mistake[];
  required?: boolean;
  value: string;
  onChange: (value: string) => void;
  language: Language;
}) {
  return (
    <Input.Wrapper
      label={label}
      description={description}
      error={error}
      required={required}
      labelElement="div"
      inputContainer={(children) => <div style={{ marginTop: '0.3rem' }}>{children}</div>}
    >
      <Suspense fallback={<p className="notice">Loading the editor…</p>}>
        <Code label={label} value={value} onChange={onChange} language={language} mistakes={mistakes} />
      </Suspense>
    </Input.Wrapper>
  );
}
