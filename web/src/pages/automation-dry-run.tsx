import { Button, Select } from '@mantine/core';
import { useState } from 'react';
import { api, clockAhead, type Schemas } from '../api/client';
import { Card, Wrong } from '../ui/page';
import { plural } from '../ui/span';
import { Status } from '../ui/status';
import { Moment } from '../ui/time';

type Report = Schemas['AutomationReport'];
type Decision = Schemas['AutomationDecision'];

const SPANS = [
  { value: '1', label: 'the last hour' },
  { value: '24', label: 'the last day' },
  { value: '168', label: 'the last week' },
  { value: '720', label: 'the last 30 days' },
];

/** How an outcome is seen: its row on the axis, its tone, and what it means. */
const OUTCOMES: Record<string, { row: number; status: string; words: string }> = {
  fired: { row: 0, status: 'succeeded', words: 'fired' },
  queued: { row: 0, status: 'succeeded', words: 'fired, behind another run' },
  armed: { row: 1, status: 'degraded', words: 'waits to see whether it stays so' },
  disarmed: { row: 1, status: 'unknown', words: 'did not stay so' },
  counted: { row: 1, status: 'unknown', words: 'not often enough yet' },
  filtered: { row: 2, status: 'unknown', words: 'filtered out' },
  refused: { row: 2, status: 'unknown', words: 'a condition was false' },
  skipped: { row: 2, status: 'degraded', words: 'skipped: another was running' },
  erroneous: { row: 2, status: 'failed', words: 'an expression failed' },
};
const ROWS = ['fired', 'waiting', 'not fired'];
const MOST_LISTED = 100;

/** What a definition would have done, on an axis of time, with why and why not. */
export function DryRun({
  name,
  definition,
  checked,
}: {
  name: string;
  definition: () => Promise<unknown>;
  checked: <T>(what: () => Promise<T>) => Promise<T>; // marks what is found wrong
}) {
  const [hours, setHours] = useState('24');
  const [busy, setBusy] = useState<AbortController | null>(null);
  const [report, setReport] = useState<Report | null>(null);
  const [wrong, setWrong] = useState<unknown>(null);
  const run = async () => {
    const stop = new AbortController();
    setBusy(stop);
    setReport(null);
    setWrong(null);
    try {
      const to = Date.now() + clockAhead;
      const body = {
        name: name || 'dry-run',
        from: new Date(to - Number(hours) * 3_600_000).toISOString(),
        to: new Date(to).toISOString(),
      };
      setReport(
        await checked(async () => {
          const { data, error } = await api.POST('/automations/dry-run', {
            body: { ...body, definition: (await definition()) as never },
            signal: stop.signal,
          });
          if (!data) throw error;
          return data;
        }),
      );
    } catch (error) {
      if (!stop.signal.aborted) setWrong(error);
    } finally {
      setBusy(null);
    }
  };
  return (
    <Card title="Dry run: what it would have done">
      <div className="stack">
        <div className="row" style={{ alignItems: 'flex-end' }}>
          <Select
            label="Over"
            data={SPANS}
            value={hours}
            allowDeselect={false}
            onChange={(v) => setHours(v ?? '24')}
            style={{ flex: '1 1 10rem', maxWidth: '16rem' }}
          />
          <Button variant="default" onClick={run} loading={busy != null}>
            Dry run
          </Button>
          {busy && (
            <Button variant="subtle" onClick={() => busy.abort()}>
              Stop
            </Button>
          )}
        </div>
        {wrong != null && <Wrong error={wrong} />}
        {report && <Shown of={report} />}
        {busy && (
          <p role="status">Trying the definition on what happened in {SPANS.find((s) => s.value === hours)?.label}…</p>
        )}
        {!busy && !report && !wrong && (
          <p className="quiet small">
            Tries the definition, as it stands above, on what has happened. Actions are noted, not done.
          </p>
        )}
      </div>
    </Card>
  );
}

function Shown({ of: r }: { of: Report }) {
  const [chosen, setChosen] = useState<Decision | null>(null);
  const decisions = r.decisions ?? [];
  const fired = decisions.filter((d) => OUTCOMES[d.outcome]?.row === 0).length;
  const words = `${plural(r.events, 'event')} met, ${plural(fired, 'time')} fired, ${plural(decisions.length - fired, 'decision')} not to`;
  return (
    <div className="stack" role="status">
      <p>
        {words}
        {r.truncated && '; the report is cut, choose a shorter span to see all'}.
      </p>
      {decisions.length > 0 && <Axis of={r} label={words} choose={setChosen} />}
      {chosen && <Why of={chosen} />}
      {decisions.length > 0 && (
        <details>
          <summary>{plural(decisions.length, 'decision')}, the newest first</summary>
          <ol className="list events">
            {decisions
              .slice(-MOST_LISTED)
              .reverse()
              .map((d, i) => (
                <li key={`${d.at}/${d.trigger}/${i}`}>
                  <Moment at={d.at} />
                  <Why of={d} />
                </li>
              ))}
          </ol>
        </details>
      )}
      {(r.runs ?? []).length > 0 && (
        <details>
          <summary>{plural((r.runs ?? []).length, 'run')} that it would have had</summary>
          <ol className="list events">
            {(r.runs ?? []).slice(-MOST_LISTED).map(({ run, steps }) => (
              <li key={run.id}>
                <Moment at={run.createdAt} />
                <span>
                  <Status of={run.status === 'success' ? 'succeeded' : 'unknown'}>{run.status}</Status>{' '}
                  {(steps ?? []).map((s) => s.action ?? s.kind).join(' → ')} {run.reason}
                </span>
              </li>
            ))}
          </ol>
        </details>
      )}
    </div>
  );
}

const toneOf = (outcome: string): string =>
  ({ succeeded: 'good', degraded: 'warn', failed: 'bad' })[OUTCOMES[outcome]?.status ?? ''] ?? 'none';

function Axis({ of: r, label, choose }: { of: Report; label: string; choose: (d: Decision) => void }) {
  const from = Date.parse(r.from);
  const to = Date.parse(r.to);
  const x = (at: string) => ((Date.parse(at) - from) / (to - from)) * 1000;
  return (
    <div className="axis">
      <div className="axis-rows small quiet" aria-hidden="true">
        {ROWS.map((row) => (
          <span key={row}>{row}</span>
        ))}
      </div>
      <div>
        <svg viewBox="0 0 1000 72" preserveAspectRatio="none" role="img" aria-label={`On the axis of time: ${label}`}>
          {ROWS.map((row, i) => (
            <line key={row} x1="0" x2="1000" y1={12 + i * 24} y2={12 + i * 24} />
          ))}
          {(r.decisions ?? []).map((d, i) => (
            // biome-ignore lint/a11y/noStaticElementInteractions: the list below says the same and is reachable
            <rect
              key={`${d.at}/${d.trigger}/${i}`}
              data-tone={toneOf(d.outcome)}
              data-outcome={d.outcome}
              x={Math.min(996, Math.max(0, x(d.at) - 2))}
              y={3 + (OUTCOMES[d.outcome]?.row ?? 2) * 24}
              width="4"
              height="18"
              onClick={() => choose(d)}
            >
              <title>{`${OUTCOMES[d.outcome]?.words ?? d.outcome}: ${d.reason}`}</title>
            </rect>
          ))}
        </svg>
        <div className="bars-legend">
          <Moment at={r.from} />
          <Moment at={r.to} />
        </div>
      </div>
    </div>
  );
}

function Why({ of: d }: { of: Decision }) {
  const known = OUTCOMES[d.outcome];
  return (
    <div>
      <Status of={known?.status ?? 'unknown'}>{known?.words ?? d.outcome}</Status>{' '}
      <span className="reason">
        {d.trigger}: {d.reason}
      </span>
      {(d.because ?? []).length > 0 && (
        <ul className="small">
          {(d.because ?? []).map((b) => (
            <li key={b.path} className="reason">
              <span className="mono">{b.text}</span> is {b.result}
              {b.why && <span className="quiet">: {b.why}</span>}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
