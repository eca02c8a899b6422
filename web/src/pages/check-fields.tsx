import { useMemo } from 'react';
import { queries, useAll } from '../api/client';
import type { Language } from '../ui/code';
import { CodeField } from '../ui/code-field';
import { useWrong } from '../ui/form';
import type { FieldOf, Special } from '../ui/schema-fields';

/** Fields of checks that are more than a line of text. */
export const special: Special = (key, field) =>
  key === 'healthcheck-script.inline-script/script' ? <ScriptField {...field} /> : undefined;

const RUNTIMES = ['builtin', 'node', 'bun'] as const;

/** A script in TypeScript, with the types that it finds and the packages that it may import. */
function ScriptField({ label, value, of, onChange, place, required }: FieldOf) {
  const error = useWrong(place);
  const packages = useAll('/packages');
  const tree = queries.useQuery('get', '/packages/install').data?.lockfileHash;
  const names = (packages.data ?? [])
    .filter((p) => p.enabled)
    .map((p) => p.name)
    .join(' ');
  const runtime = RUNTIMES.find((r) => r === of.runtime) ?? 'builtin';
  // biome-ignore lint/correctness/useExhaustiveDependencies: another tree has other types
  const language = useMemo(
    (): Language => ({ of: 'typescript', packages: names.split(' ').filter(Boolean), runtime }),
    [names, tree, runtime],
  );
  return (
    <CodeField
      label={label}
      description="It returns what it found, or throws. Ctrl-Space completes, Ctrl-Shift-Space shows the parameters of a call, F8 goes to the next mistake, and Ctrl-Shift-M lists all."
      required={required}
      error={error}
      value={(value as string) ?? ''}
      onChange={onChange}
      language={language}
    />
  );
}
