import { Checkbox, MultiSelect, NumberInput, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { useQuery } from '@tanstack/react-query';
import { api, type Problem, queries, type Schemas, useAll, wordsOf } from '../api/client';
import { useWrong } from '../ui/form';
import { SchemaFields } from '../ui/schema-fields';
import { plural } from '../ui/span';
import { Status } from '../ui/status';
import { placed, wordsAt } from '../ui/wrong';
import { POLICY } from './policy';

/** Whether the core runs checks itself; as long as that is not known, it does. */
export const useOwnSatellite = (): boolean =>
  queries.useQuery('get', '/about').data?.settings?.find((s) => s.name === '--local')?.value !== 'false';

export type Where = Pick<Schemas['AssignmentInput'], 'includeLocal' | 'satellites' | 'policy'>;

/** What is to be placed: a check that there is, or what one is made of. */
export type Previewed = Pick<Schemas['PlacementInput'], 'assignment' | 'check' | 'strategy' | 'collectors'>;

/** Which satellites run it: by name, by what they are like, or so many of those. */
export function WhereFields({
  value,
  onChange,
  of,
}: {
  value: Where;
  onChange: (value: Where) => void;
  of: Previewed;
}) {
  const satellites = useAll('/satellites');
  const own = useOwnSatellite();
  const preview = usePreview({ ...of, ...whereOf(value), policy: undefined });
  const names = useWrongAt('satellites.names*', preview.error);
  const selector = useWrongAt('satellites.selector', preview.error);
  const count = useWrongAt('satellites.count', preview.error);
  const spreadBy = useWrongAt('satellites.spreadBy', preview.error);
  const wrong = useWrongAt('satellites', preview.error);
  const local = useWrongAt('includeLocal', preview.error);
  const s = value.satellites ?? {};
  const set = (change: Schemas['Selector']) => onChange({ ...value, satellites: { ...s, ...change } });
  const chosen = s.names ?? [];
  return (
    <>
      <Checkbox
        label="On the core itself"
        description={own ? undefined : 'This core runs no checks itself (--no-local), so this does nothing.'}
        error={local}
        checked={value.includeLocal !== false}
        onChange={(e) => onChange({ ...value, includeLocal: e.currentTarget.checked })}
      />
      <MultiSelect
        label="On these satellites"
        placeholder={chosen.length ? undefined : 'none by name'}
        searchable
        clearable
        limit={100}
        data={[...new Set([...(satellites.data ?? []).map((one) => one.name), ...chosen])]}
        value={chosen}
        error={names}
        onChange={(v) => set({ names: v.length ? v : undefined })}
      />
      <TextInput
        label="And on all that match"
        description="A selector of name, region and labels, such as region in (eu, us), tier!=test"
        value={s.selector ?? ''}
        error={selector ?? wrong}
        onChange={(e) => set({ selector: e.currentTarget.value || undefined })}
      />
      <div className="fields">
        <NumberInput
          label="On how many of those"
          description="On all if empty"
          min={1}
          value={s.count ?? ''}
          error={count}
          clampBehavior="none"
          onChange={(v) => set({ count: v === '' ? undefined : Number(v) })}
        />
        <TextInput
          label="Spread by"
          description="region, or a label such as rack"
          value={s.spreadBy ?? ''}
          error={spreadBy}
          onChange={(e) => set({ spreadBy: e.currentTarget.value || undefined })}
        />
      </div>
      <PlacementPreview of={preview} />
      <details>
        <summary>Policy: when results become a verdict</summary>
        <div className="stack inset">
          <SchemaFields
            schema={POLICY}
            value={(value.policy ?? {}) as Record<string, unknown>}
            onChange={(policy) => onChange({ ...value, policy: Object.keys(policy).length ? policy : undefined })}
            place="policy"
          />
        </div>
      </details>
    </>
  );
}

/** What the core finds wrong with a field: when it was to be saved, or else already while it is looked at. */
function useWrongAt(field: string, looked: Problem | null): string | undefined {
  const saved = useWrong(field.replace('*', ''), field.endsWith('*'));
  return saved ?? wordsAt(looked?.errors ?? [], field);
}

/** Asks where it would run if it were saved as it stands, a moment after the last change. */
function usePreview(of: Previewed & Where) {
  const [asked] = useDebouncedValue(JSON.stringify(of), 400);
  return useQuery<Schemas['PlacementPreview'], Problem>({
    queryKey: ['post', '/placement/preview', asked],
    queryFn: async ({ signal }) => {
      const { data, error } = await api.POST('/placement/preview', { body: JSON.parse(asked), signal });
      if (!data) throw error;
      return data;
    },
    placeholderData: (before) => before,
    gcTime: 0,
    retry: false,
  });
}

const FIELDS = [
  ...['names*', 'selector', 'count', 'spreadBy'].map((of) => `satellites.${of}`),
  'satellites',
  'includeLocal',
];

/** Where it would run, and why not elsewhere; or what has to be right before that is known. */
function PlacementPreview({ of: preview }: { of: ReturnType<typeof usePreview> }) {
  const p = preview.data;
  if (preview.error) {
    const elsewhere = (preview.error.errors ?? []).filter((e) => !placed(e.location ?? '', new Set(FIELDS)));
    return (
      <section aria-label="Where it would run" className="inset">
        <p role="status">
          <Status of="degraded">Where it would run is not known yet.</Status>{' '}
          <span className="quiet">
            {elsewhere.length > 0
              ? elsewhere.map((e) => [e.location, e.message].filter(Boolean).join(': ')).join('; ')
              : preview.error.errors?.length
                ? 'The field that is wrong says why.'
                : wordsOf(preview.error)}
          </span>
        </p>
      </section>
    );
  }
  if (!p) return null;
  const places = p.satellites ?? [];
  return (
    <section aria-label="Where it would run" className="inset">
      <p role="status">
        {p.runs === 0 ? (
          <Status of="degraded">It would run nowhere.</Status>
        ) : (
          `It would run on ${plural(p.runs, 'satellite')}.`
        )}{' '}
        <span className="quiet">
          {[
            p.lacking > 0 && `${plural(p.lacking, 'more')} of those chosen cannot`,
            p.unmatched > 0 && `${plural(p.unmatched, 'other')} not chosen`,
          ]
            .filter(Boolean)
            .join(', ')}
        </span>
      </p>
      {places.length > 0 && (
        <ul className="list">
          {places.map((s) => (
            <li key={s.id} className="row">
              <Status of={s.runs ? 'healthy' : 'unknown'} quiet>
                {s.name}
              </Status>
              <span className="quiet small">
                {[s.region, s.status !== 'online' && s.status, s.seat && `seat ${s.seat}`, s.reason]
                  .filter(Boolean)
                  .join('; ')}
              </span>
            </li>
          ))}
        </ul>
      )}
      {p.omitted > 0 && <p className="quiet small">and {plural(p.omitted, 'more')}</p>}
    </section>
  );
}

/** Without what was left empty. */
export const whereOf = ({ includeLocal, satellites, policy }: Where): Where => ({
  includeLocal: includeLocal !== false,
  ...(satellites && Object.values(satellites).some((v) => v !== undefined) ? { satellites } : {}),
  ...(policy ? { policy } : {}),
});
