import { Button, Checkbox, Progress, TextInput } from '@mantine/core';
import { useState } from 'react';
import { api, queryClient, type Schemas, wordsOf } from '../api/client';
import { Doing } from '../ui/form';
import { plural } from '../ui/span';
import { labelsOf } from './satellite-commands';

type Satellite = Schemas['Satellite'];
type Act = (s: Satellite) => Promise<{ error?: unknown }>;

const AT_ONCE = 8;
const MOST_TOLD = 10;

const by = (id: string) => ({ params: { path: { id } } });
const cordon: Act = (s) => api.POST('/satellites/{id}/cordon', by(s.id));
const uncordon: Act = (s) => api.POST('/satellites/{id}/uncordon', by(s.id));
const drain: Act = (s) => api.POST('/satellites/{id}/drain', by(s.id));
const remove: Act = (s) => api.DELETE('/satellites/{id}', by(s.id));
const label =
  (text: string): Act =>
  (s) => {
    const { add, drop } = changeOf(text);
    const tags = Object.fromEntries(Object.entries({ ...s.tags, ...add }).filter(([key]) => !drop.includes(key)));
    return api.PATCH('/satellites/{id}', { ...by(s.id), body: { tags } });
  };

/** Labels that are set, and those that a minus takes away: tier=edge -rack. */
export function changeOf(text: string): { add: Record<string, string>; drop: string[] } {
  const words = text.split(/[\s,]+/).filter(Boolean);
  const drop = words.filter((w) => w.startsWith('-')).map((w) => w.slice(1));
  return { add: labelsOf(words.filter((w) => !w.startsWith('-')).join(' ')), drop };
}

/** What became of what was asked for: how many are done, and why others are not. */
interface Doings {
  what: string;
  of: number;
  done: number;
  failed: { name: string; why: string }[];
  over: boolean;
}

/** Does the same to each, some at a time, and tells how far it is. */
async function doAll(what: string, satellites: Satellite[], act: Act, tell: (d: Doings) => void): Promise<void> {
  const waiting = [...satellites];
  const failed: Doings['failed'] = [];
  let done = 0;
  const report = (over = false) => tell({ what, of: satellites.length, done, failed: [...failed], over });
  report();
  const work = async () => {
    for (let s = waiting.shift(); s; s = waiting.shift()) {
      const { error } = await act(s).catch((error) => ({ error }));
      if (error) failed.push({ name: s.name, why: wordsOf(error) });
      else done++;
      report();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  await queryClient.invalidateQueries({ predicate: (q) => String(q.queryKey[1]).startsWith('/satellites') });
  report(true);
}

/** What can be done to all satellites that are chosen. */
export function Bulk({
  chosen,
  shown,
  choose,
}: {
  chosen: Satellite[];
  shown: Satellite[];
  choose: (ids: string[]) => void;
}) {
  const [doings, setDoings] = useState<Doings | null>(null);
  const [asking, setAsking] = useState<'' | 'label' | 'delete'>('');
  const busy = doings !== null && !doings.over;
  const run = (what: string, act: Act) => doAll(what, chosen, act, setDoings);
  if (chosen.length === 0 && !doings)
    return shown.length > 0 ? (
      <div className="bulk">
        <Button variant="default" size="compact-sm" onClick={() => choose(shown.map((s) => s.id))}>
          Choose all {shown.length.toLocaleString('en')}
        </Button>
      </div>
    ) : null;
  return (
    <section className="bulk" aria-label="What is chosen">
      <div className="row">
        <strong>{plural(chosen.length, 'satellite')} chosen</strong>
        {chosen.length > 0 && (
          <>
            <Button size="compact-sm" variant="default" disabled={busy} onClick={() => run('Cordoned', cordon)}>
              Cordon
            </Button>
            <Button size="compact-sm" variant="default" disabled={busy} onClick={() => run('Uncordoned', uncordon)}>
              Uncordon
            </Button>
            <Button size="compact-sm" variant="default" disabled={busy} onClick={() => run('Told to drain', drain)}>
              Drain
            </Button>
            <Button size="compact-sm" variant="default" disabled={busy} onClick={() => setAsking('label')}>
              Labels
            </Button>
            <Button size="compact-sm" variant="default" disabled={busy} onClick={() => setAsking('delete')}>
              Delete
            </Button>
          </>
        )}
        {chosen.length < shown.length && (
          <Button size="compact-sm" variant="subtle" onClick={() => choose(shown.map((s) => s.id))}>
            Choose all {shown.length.toLocaleString('en')}
          </Button>
        )}
        <Button
          size="compact-sm"
          variant="subtle"
          disabled={busy}
          onClick={() => {
            choose([]);
            setDoings(null);
          }}
        >
          Choose none
        </Button>
      </div>
      {doings && <Progressing of={doings} />}
      {asking === 'label' && (
        <Labelling of={chosen} close={() => setAsking('')} run={(text) => run('Labelled', label(text))} />
      )}
      {asking === 'delete' && (
        <Deleting
          of={chosen}
          close={() => setAsking('')}
          run={async () => {
            await run('Deleted', remove);
            choose([]);
          }}
        />
      )}
    </section>
  );
}

function Progressing({ of: d }: { of: Doings }) {
  return (
    <div role="status">
      {!d.over && <Progress value={((d.done + d.failed.length) / d.of) * 100} aria-label={d.what} />}
      <p className="small">
        {d.what}: {d.done.toLocaleString('en')} of {d.of.toLocaleString('en')}
        {d.failed.length > 0 && <span className="tone-bad">; {d.failed.length.toLocaleString('en')} failed</span>}
      </p>
      {d.failed.length > 0 && (
        <ul className="small tone-bad">
          {d.failed.slice(0, MOST_TOLD).map((f) => (
            <li key={f.name}>
              {f.name}: {f.why}
            </li>
          ))}
          {d.failed.length > MOST_TOLD && <li>and {(d.failed.length - MOST_TOLD).toLocaleString('en')} more</li>}
        </ul>
      )}
    </div>
  );
}

function Labelling({
  of: chosen,
  close,
  run,
}: {
  of: Satellite[];
  close: () => void;
  run: (text: string) => Promise<void>;
}) {
  const [text, setText] = useState('');
  return (
    <Doing
      title={`Labels of ${plural(chosen.length, 'satellite')}`}
      button="Set the labels"
      close={close}
      touches="/satellites"
      run={async () => {
        changeOf(text); // what is no label is said before anything is done
        close();
        await run(text);
      }}
    >
      <TextInput
        label="Labels"
        description="key=value sets one, -key removes one; others stay."
        required
        data-autofocus
        value={text}
        onChange={(e) => setText(e.currentTarget.value)}
      />
    </Doing>
  );
}

/** Says what goes before it goes. */
function Deleting({ of: chosen, close, run }: { of: Satellite[]; close: () => void; run: () => Promise<void> }) {
  const [sure, setSure] = useState(false);
  const online = chosen.filter((s) => s.status === 'online').length;
  const unsent = chosen.reduce((sum, s) => sum + (s.pulse?.spoolRecords ?? 0), 0);
  return (
    <Doing
      title={`Delete ${plural(chosen.length, 'satellite')}`}
      button="Delete them"
      danger
      disabled={!sure}
      close={close}
      touches="/satellites"
      run={async () => {
        close();
        await run();
      }}
    >
      <p>
        {chosen
          .slice(0, MOST_TOLD)
          .map((s) => s.name)
          .join(', ')}
        {chosen.length > MOST_TOLD && ` and ${(chosen.length - MOST_TOLD).toLocaleString('en')} more`}.
      </p>
      <p>
        Their tokens and sessions go with them
        {online > 0 &&
          `; ${online.toLocaleString('en')} of them ${online === 1 ? 'is' : 'are'} online and will be cut off`}
        {unsent > 0 && `; ${plural(unsent, 'result')} that they have not sent are lost`}. What only they check is run
        nowhere. This cannot be undone.
      </p>
      <Checkbox
        label={`Yes, delete ${chosen.length === 1 ? 'it' : `all ${chosen.length.toLocaleString('en')}`}`}
        checked={sure}
        onChange={(e) => setSure(e.currentTarget.checked)}
      />
    </Doing>
  );
}
