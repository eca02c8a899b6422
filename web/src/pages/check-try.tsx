import { Button, Select } from '@mantine/core';
import { useState } from 'react';
import { api, type Schemas, useAll, wordsOf } from '../api/client';
import { useTell, useWrong } from '../ui/form';
import { Card } from '../ui/page';
import { Phases } from '../ui/phases';
import { duration } from '../ui/span';
import { Status } from '../ui/status';
import type { Found } from './check-collectors';
import { sentence } from './check-collectors';
import { useOwnSatellite } from './where';

type Trial = Schemas['Trial'];

/** Whether a satellite can try a check of the strategy now; that which is measured may still lack it something. */
const canTry = (s: Schemas['Satellite'], strategy: string) =>
  s.status === 'online' &&
  !s.cordonedAt &&
  !!s.inventory?.features?.includes('try') &&
  !!s.inventory.strategies?.includes(strategy);

/** Runs the check as it stands in the form, once, and shows what it found; nothing of it is kept. */
export function TryCard({
  check,
  saved,
  system,
  found,
}: {
  check: Schemas['CheckInput'];
  saved?: string; // the check that this is an edit of
  system?: string;
  found: (found: Found) => void;
}) {
  const satellites = useAll('/satellites');
  const systems = useAll('/systems');
  const tell = useTell();
  const fromWrong = useWrong('from');
  const [chosen, setFrom] = useState<string | null>(null);
  const [as, setAs] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const [trial, setTrial] = useState<Trial | null>(null);
  const [wrong, setWrong] = useState('');
  const core = useOwnSatellite();
  const able = (satellites.data ?? []).filter((s) => canTry(s, check.spec.strategy)).map((s) => s.name);
  const from = chosen && able.includes(chosen) ? chosen : core ? null : (able[0] ?? null);
  const nowhere = !core && satellites.data !== undefined && !able.length;
  const run = async () => {
    setBusy(true);
    setWrong('');
    tell(null);
    try {
      const { data, error } = await api.POST('/checks/try', {
        body: {
          spec: check.spec,
          ...(check.name ? { name: check.name } : {}),
          ...(saved ? { check: saved } : {}),
          ...(from ? { from } : {}),
          ...((as ?? system) ? { system: as ?? system } : {}),
        },
      });
      if (!data) throw error;
      setTrial(data);
      found(Object.fromEntries((data.collectors ?? []).map((c) => [c.id, c.result as Record<string, unknown>])));
    } catch (error) {
      setTrial(null);
      tell(error);
      setWrong(wordsOf({ ...(error as object), errors: [] }));
    } finally {
      setBusy(false);
    }
  };
  return (
    <Card title="Try it">
      <div className="stack">
        <div className="fields">
          <Select
            label="From"
            description={core ? undefined : 'This core runs no checks itself (--no-local).'}
            placeholder={core ? 'the core itself' : 'no satellite'}
            clearable={core}
            searchable
            limit={100}
            data={able}
            disabled={!core && !able.length}
            value={from}
            onChange={setFrom}
            error={fromWrong}
          />
          <Select
            label="For the system"
            placeholder={system ?? 'no system'}
            clearable
            searchable
            limit={100}
            data={(systems.data ?? []).map((s) => s.name)}
            value={as}
            onChange={setAs}
          />
          <div className="button">
            <Button onClick={run} loading={busy} disabled={nowhere} variant="default">
              Try it
            </Button>
          </div>
        </div>
        {nowhere && (
          <p className="quiet">
            It cannot be tried now: no satellite that is online and not cordoned can run it. One that can appears here
            when it connects.
          </p>
        )}
        {busy && (
          <p className="quiet" role="status">
            Running…
          </p>
        )}
        {wrong && (
          <p className="tone-bad" role="alert">
            {wrong}
          </p>
        )}
        {trial && <Shown of={trial} />}
      </div>
    </Card>
  );
}

function Shown({ of: t }: { of: Trial }) {
  return (
    <div className="stack" role="status" aria-label="What came of it">
      <p>
        <Status of={t.inconclusive ? 'inconclusive' : t.status} /> from {t.satellite.name || 'the core'} in{' '}
        {duration(t.latencyMs)}: <span className="reason">{t.inconclusive || t.error || t.message}</span>
      </p>
      {t.timings && <Phases of={t.timings} />}
      {(t.collectors ?? []).map((c) => (
        <div key={c.id}>
          <h3>
            <Status of={c.status} quiet /> {c.id}{' '}
            {c.tookMs !== undefined && <span className="quiet">{duration(c.tookMs)}</span>}
          </h3>
          {c.error && <p className="tone-bad reason">{c.error}</p>}
          {c.fence && <p className="quiet small">The script had: {c.fence}.</p>}
          <ul>
            {(c.assertions ?? []).map((a) => (
              <li key={sentence(a)} className="reason">
                <Status of={a.passed ? 'healthy' : 'unhealthy'} quiet>
                  {a.passed ? 'holds' : 'does not hold'}
                </Status>{' '}
                {sentence(a)} {!a.passed && <span className="tone-bad">{a.message ?? `got ${a.got}`}</span>}
              </li>
            ))}
          </ul>
          <details>
            <summary className="quiet small">everything that it found</summary>
            {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
            <pre tabIndex={0}>{JSON.stringify(c.result, null, 2)}</pre>
          </details>
        </div>
      ))}
    </div>
  );
}
