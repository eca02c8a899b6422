import { Button, Select, Textarea } from '@mantine/core';
import { useInfiniteQuery } from '@tanstack/react-query';
import { Link, useNavigate, useParams } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { api, type Problem, queries, queryClient, type Schemas, useAll } from '../api/client';
import { wordsOfEvent } from '../live/words';
import { Doing, useWrong } from '../ui/form';
import { May } from '../ui/may';
import { Card, Facts, Head, Read } from '../ui/page';
import { duration, plural, span } from '../ui/span';
import { Status } from '../ui/status';
import { type Column, DataTable } from '../ui/table';
import { Ago, Moment } from '../ui/time';
import { useUrl } from '../ui/url';

type Automation = Schemas['Automation'];
type Run = Schemas['AutomationRun'];
type Step = Schemas['AutomationStep'];

// A status of runs and steps as one that has a colour.
const TONES: Record<string, string> = {
  success: 'succeeded',
  failed: 'failed',
  in_doubt: 'degraded',
  running: 'inconclusive',
  waiting: 'inconclusive',
  pending: 'inconclusive',
};
const RunStatus = ({ of }: { of: string }) => <Status of={TONES[of] ?? 'unknown'}>{of.replaceAll('_', ' ')}</Status>;

/** Why a run began, in words. */
function because(r: Run): string {
  const event = r.event;
  if (!event) return '';
  if (event.type === 'automation.manual') return `${event.actor?.name || 'somebody'} ran it`;
  const { systemName, newStatus, status } = (event.payload ?? {}) as Record<string, string | undefined>;
  const is = newStatus ?? status;
  return wordsOfEvent(event, () => undefined) || (systemName && is ? `${systemName} is ${is}` : event.type);
}

type Page = Schemas['ListAutomationRun'];
const STATUSES = ['pending', 'running', 'waiting', 'success', 'failed', 'cancelled', 'skipped', 'in_doubt'] as const;

/** The runs of an automation, or of all of them, chosen by their status in the address. */
export function Runs({ of: automation, names }: { of?: string; names?: Map<string, string> }) {
  const [url, setUrl] = useUrl();
  const status = STATUSES.find((s) => s === url.runs);
  const runs = useInfiniteQuery<Page, Problem, Run[], unknown[], string>({
    queryKey: ['get', '/automation-runs', { automation, status }],
    initialPageParam: '',
    getNextPageParam: (page) => page.nextCursor ?? undefined,
    select: ({ pages }) => pages.flatMap((page) => page.items ?? []),
    queryFn: async ({ pageParam, signal }) => {
      const { data, error } = await api.GET('/automation-runs', {
        params: {
          query: {
            limit: 50,
            ...(pageParam && { cursor: pageParam }),
            ...(automation && { automation }),
            ...(status && { status }),
          },
        },
        signal,
      });
      if (!data) throw error;
      return data;
    },
  });
  return (
    <Card
      title={names ? 'Newest runs' : 'Runs'}
      pad={false}
      aside={
        <Select
          aria-label="Status of runs"
          placeholder="Any status"
          size="xs"
          clearable
          data={STATUSES.map((value) => ({ value, label: value.replaceAll('_', ' ') }))}
          value={status ?? null}
          onChange={(value) => setUrl({ runs: value ?? undefined })}
          w="9rem"
        />
      }
    >
      <Read query={runs}>
        {(rows) =>
          rows.length || !status ? (
            <RunTable runs={rows} names={names} />
          ) : (
            <p className="notice">No run is {status.replaceAll('_', ' ')}.</p>
          )
        }
      </Read>
      {runs.hasNextPage && (
        <p className="notice">
          <Button variant="default" loading={runs.isFetchingNextPage} onClick={() => void runs.fetchNextPage()}>
            Older ones
          </Button>
        </p>
      )}
    </Card>
  );
}

const becauseOf = (r: Run) => [r.reason, because(r)].filter(Boolean).join('; ');
const tookOf = (r: Run) => (r.startedAt && r.endedAt ? Date.parse(r.endedAt) - Date.parse(r.startedAt) : null);

const COLUMNS: Column<Run>[] = [
  {
    key: 'began',
    title: 'Began',
    newestFirst: true,
    value: (r) => Date.parse(r.createdAt),
    cell: (r) => (
      <Link to="/automation-runs/$id" params={{ id: r.id }}>
        <Moment at={r.createdAt} />
      </Link>
    ),
  },
  { key: 'status', title: 'Status', value: (r) => r.status, cell: (r) => <RunStatus of={r.status} /> },
  { key: 'because', title: 'Because', value: becauseOf },
  {
    key: 'took',
    title: 'Took',
    number: true,
    value: tookOf,
    cell: (r) => r.startedAt && r.endedAt && exact(r.startedAt, r.endedAt),
  },
];

function RunTable({ runs, names }: { runs: Run[]; names?: Map<string, string> }) {
  const columns = useMemo(() => {
    if (!names) return COLUMNS;
    const of = (r: Run) => names.get(r.automation) ?? 'deleted';
    const automation: Column<Run> = {
      key: 'automation',
      title: 'Automation',
      value: of,
      kinds: (r) => [of(r)],
      cell: (r) => (
        <Link to="/automations/$id" params={{ id: r.automation }}>
          {of(r)}
        </Link>
      ),
    };
    return COLUMNS.toSpliced(1, 0, automation);
  }, [names]);
  return (
    <DataTable
      label="Runs"
      noun="run"
      name="runs"
      columns={columns}
      rows={runs}
      id={(r) => r.id}
      sortBy="-began"
      empty="Nothing has run yet. A run begins when a trigger fires, or by Run now on an automation’s page; each leaves the trace of its steps here."
    />
  );
}

/** Runs an automation by hand, and leads to the trace. */
export function RunNow({ of: a, close }: { of: Automation; close: () => void }) {
  const navigate = useNavigate();
  const run = queries.useMutation('post', '/automations/{id}/run');
  const [trigger, setTrigger] = useState('');
  const [payload, setPayload] = useState('');
  const triggers = ((a.definition as { triggers?: { id?: string; event?: string }[] }).triggers ?? []).map((t) => ({
    value: t.id ?? (t.event ?? '').replaceAll('.', '_'),
    label: t.id ? `${t.id} (${t.event})` : (t.event ?? ''),
  }));
  return (
    <Doing
      title={`Run ${a.name}`}
      button="Run it"
      close={close}
      touches="/automation"
      run={async () => {
        const begun = await run.mutateAsync({
          params: { path: { id: a.id } },
          body: { ...(trigger && { trigger }), ...(payload.trim() && { payload: parsed(payload) }) },
        });
        await navigate({ to: '/automation-runs/$id', params: { id: begun.id } });
      }}
    >
      <p>
        Its actions are really carried out{a.enabled ? '' : ', although it is disabled'}. To see what it would have done
        in the past, without doing anything, use the dry run.
      </p>
      <Select
        label="As if this trigger had fired"
        clearable
        placeholder="none: run by hand"
        data={[...new Map(triggers.map((t) => [t.value, t])).values()]}
        value={trigger || null}
        onChange={(value) => setTrigger(value ?? '')}
      />
      <Payload value={payload} onChange={setPayload} />
    </Doing>
  );
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw {
      detail: 'The payload is not valid JSON.',
      errors: [{ location: 'body.payload', message: (error as Error).message }],
    };
  }
}

function Payload({ value, onChange }: { value: string; onChange: (text: string) => void }) {
  const wrong = useWrong('body.payload');
  return (
    <Textarea
      label="Payload"
      description="JSON that its steps see as trigger.payload, such as {&quot;name&quot;: &quot;eu-1&quot;}. Optional."
      autosize
      minRows={2}
      maxRows={12}
      className="mono"
      spellCheck={false}
      value={value}
      error={wrong}
      onChange={(e) => onChange(e.currentTarget.value)}
    />
  );
}

const ENDED = ['success', 'failed', 'cancelled', 'skipped', 'in_doubt'];

export function AutomationRun() {
  const { id } = useParams({ strict: false }) as { id: string };
  const run = queries.useQuery('get', '/automation-runs/{id}', { params: { path: { id } } });
  const all = useAll('/automations');
  const r = run.data;
  const of = all.data?.find((a) => a.id === r?.automation);
  const name = of?.name ?? 'an automation';
  return (
    <>
      <Head
        title={`Run of ${name}`}
        crumb={
          <>
            <Link to="/automations">Automations</Link>{' '}
            {r && (
              <>
                ›{' '}
                <Link to="/automations/$id" params={{ id: r.automation }}>
                  {name}
                </Link>
              </>
            )}
          </>
        }
        actions={r && <Doings of={r} />}
      >
        {r && <RunStatus of={r.status} />}
      </Head>
      <Read query={run}>
        {(r) => (
          <>
            <Card title="Why it ran">
              <Facts
                of={[
                  ['Because', because(r)],
                  ['Trigger', r.trigger || 'none: by hand'],
                  ['Began', <Moment key="b" at={r.createdAt} />],
                  ['Took', <Took key="t" of={r} />],
                  [ENDED.includes(r.status) ? 'Why it ended so' : 'It waits for', r.reason || null],
                  ['Revision', r.revision],
                ]}
              />
              {r.event?.payload != null && (
                <details>
                  <summary className="small">What it reacted to</summary>
                  <Json of={r.event.payload} />
                </details>
              )}
            </Card>
            <Card title={plural((r.steps ?? []).length, 'step')} pad={false}>
              {r.steps?.length ? (
                <ol className="list">
                  {r.steps.map((s) => (
                    <StepOf key={`${s.path}/${s.attempt}`} of={s} />
                  ))}
                </ol>
              ) : (
                <p className="notice">
                  {ENDED.includes(r.status) ? 'It ended before its first step.' : 'Its first step has not begun yet.'}
                </p>
              )}
            </Card>
          </>
        )}
      </Read>
    </>
  );
}

function Took({ of: r }: { of: Run }) {
  if (r.endedAt) return <>{r.startedAt ? exact(r.startedAt, r.endedAt) : 'it never began'}</>;
  return (
    <>
      not over yet, begun <Ago at={r.startedAt ?? r.createdAt} />
    </>
  );
}

/** How long something took, which is mostly far less than a second. */
function exact(from: string, to: string): string {
  const ms = Date.parse(to) - Date.parse(from);
  return ms < 60_000 ? duration(ms) : span(ms);
}

function StepOf({ of: s }: { of: Step }) {
  return (
    <li>
      <div className="row">
        <RunStatus of={s.status} />
        <strong>{s.action ?? s.kind}</strong> {s.id && <span className="quiet">{s.id}</span>}
        <span className="mono quiet small">{s.path}</span>
        {s.attempt > 1 && <span className="quiet">attempt {s.attempt}</span>}
        <span className="quiet small">
          <Moment at={s.startedAt} />
          {s.endedAt && `, took ${exact(s.startedAt, s.endedAt)}`}
        </span>
        {!s.endedAt && s.due && (
          <span className="small">
            until <Moment at={s.due} />, <Ago at={s.due} phrase="in" />
          </span>
        )}
      </div>
      {s.error && <p className="tone-bad">{s.error}</p>}
      {s.input != null && (
        <details open>
          <summary className="small">Input, as its templates came out</summary>
          <Json of={s.input} />
        </details>
      )}
      {s.output != null && (
        <details open>
          <summary className="small">Output</summary>
          <Json of={s.output} />
        </details>
      )}
    </li>
  );
}

const Json = ({ of }: { of: unknown }) => (
  // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
  <pre tabIndex={0} className="small">
    {JSON.stringify(of, null, 2)}
  </pre>
);

function Doings({ of: r }: { of: Run }) {
  const navigate = useNavigate();
  const cancel = queries.useMutation('post', '/automation-runs/{id}/cancel');
  const rerun = queries.useMutation('post', '/automation-runs/{id}/rerun');
  const [open, setOpen] = useState<'' | 'cancel' | 'again'>('');
  const close = () => setOpen('');
  const params = { path: { id: r.id } };
  return (
    <May to="rerun-automation-run">
      {ENDED.includes(r.status) ? (
        <Button onClick={() => setOpen('again')}>Run again</Button>
      ) : (
        <Button variant="default" onClick={() => setOpen('cancel')}>
          Cancel
        </Button>
      )}
      {open === 'again' && (
        <Doing
          title="Run again"
          button="Run it"
          close={close}
          touches="/automation"
          run={async () => {
            const begun = await rerun.mutateAsync({ params });
            close();
            await navigate({ to: '/automation-runs/$id', params: { id: begun.id } });
          }}
        >
          <p>
            The automation runs on the same event once more, as it is defined now. Its actions are really carried out.
          </p>
        </Doing>
      )}
      {open === 'cancel' && (
        <Doing
          title="Cancel this run"
          button="Cancel the run"
          cancelWord="Let it run"
          danger
          close={close}
          touches="/automation"
          run={async () => {
            await cancel.mutateAsync({ params });
            await queryClient.invalidateQueries({ queryKey: ['get', '/automation-runs/{id}'] });
            close();
          }}
        >
          <p>Steps that are done stay done; those after them are not carried out.</p>
        </Doing>
      )}
    </May>
  );
}
