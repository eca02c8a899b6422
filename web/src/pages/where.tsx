import { Checkbox, MultiSelect, NumberInput, TextInput } from '@mantine/core';
import { type Schemas, useAll } from '../api/client';
import { useWrong } from '../ui/form';
import { SchemaFields } from '../ui/schema-fields';
import { POLICY } from './policy';

export type Where = Pick<Schemas['AssignmentInput'], 'includeLocal' | 'satellites' | 'policy'>;

/** Which satellites run it: by name, by what they are like, or so many of those. */
export function WhereFields({ value, onChange }: { value: Where; onChange: (value: Where) => void }) {
  const satellites = useAll('/satellites');
  const names = useWrong('satellites.names', true);
  const selector = useWrong('satellites.selector');
  const count = useWrong('satellites.count');
  const spreadBy = useWrong('satellites.spreadBy');
  const wrong = useWrong('satellites');
  const local = useWrong('includeLocal');
  const s = value.satellites ?? {};
  const set = (change: Schemas['Selector']) => onChange({ ...value, satellites: { ...s, ...change } });
  const chosen = s.names ?? [];
  return (
    <>
      <Checkbox
        label="On the core itself"
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
        label="And on all that are like"
        description="By name, region and labels: region in (eu, us), tier!=test"
        value={s.selector ?? ''}
        error={selector ?? wrong}
        onChange={(e) => set({ selector: e.currentTarget.value || undefined })}
      />
      <div className="fields">
        <NumberInput
          label="Only on so many of those"
          description="If empty, on all"
          min={1}
          value={s.count ?? ''}
          error={count}
          clampBehavior="none"
          onChange={(v) => set({ count: v === '' ? undefined : Number(v) })}
        />
        <TextInput
          label="Spread by"
          description="region, or a label"
          value={s.spreadBy ?? ''}
          error={spreadBy}
          onChange={(e) => set({ spreadBy: e.currentTarget.value || undefined })}
        />
      </div>
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

/** Without what was left empty. */
export const whereOf = ({ includeLocal, satellites, policy }: Where): Where => ({
  includeLocal: includeLocal !== false,
  ...(satellites && Object.values(satellites).some((v) => v !== undefined) ? { satellites } : {}),
  ...(policy ? { policy } : {}),
});
