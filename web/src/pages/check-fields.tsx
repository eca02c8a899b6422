import { useMemo } from 'react';
import { useAll } from '../api/client';
import type { Language } from '../ui/code';
import { CodeField } from '../ui/code-field';
import { useWrong } from '../ui/form';
import type { FieldOf, Special } from '../ui/schema-fields';

/** Fields of checks that are more than a line of text. */
export const special: Special = (key, field) =>
  key === 'healthcheck-script.inline-script/script' ? <ScriptField {...field} /> : undefined;

/** A script in TypeScript, with the types that it finds and the packages that it may import. */
function ScriptField({ label, value, onChange, place, required }: FieldOf) {
  const error = useWrong(place);
  const packages = useAll('/packages');
  const names = (packages.data ?? [])
    .filter((p) => p.enabled)
    .map((p) => p.name)
    .join(' ');
  const language = useMemo((): Language => ({ of: 'typescript', packages: names.split(' ').filter(Boolean) }), [names]);
  return (
    <CodeField
      label={label}
      description="It returns what it found, or throws. Ctrl-Space offers what it can name, F8 goes to the next mistake and Ctrl-Shift-M lists them."
      required={required}
      error={error}
      value={(value as string) ?? ''}
      onChange={onChange}
      language={language}
    />
  );
}
