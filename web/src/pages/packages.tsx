import { Button } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { queries, queryClient, type Schemas, useAll, useMay, wordsOf } from '../api/client';
import { Dialog } from '../ui/dialog';
import { Doing } from '../ui/form';
import { May } from '../ui/may';
import { Card, Facts, Head, Read } from '../ui/page';
import { bytes, plural } from '../ui/span';
import { Status } from '../ui/status';
import { type Column, DataTable } from '../ui/table';
import { Ago, Moment } from '../ui/time';
import { Named } from './users';

type Package = Schemas['Package'];
type State = Schemas['State'];
type At = Schemas['SatelliteState'];

const again = () => queryClient.invalidateQueries({ predicate: (q) => String(q.queryKey[1]).startsWith('/packages') });
const hash = (text: string | null | undefined) => (text ? <span className="mono">{text.slice(0, 12)}</span> : null);

const COLUMNS: Column<Package>[] = [
  { key: 'name', title: 'Package', value: (p) => p.name, cell: (p) => <span className="mono">{p.name}</span> },
  { key: 'version', title: 'Version', value: (p) => p.version },
  {
    key: 'enabled',
    title: 'In the next tree',
    value: (p) => (p.enabled ? 'yes' : 'left out'),
    kinds: (p) => [p.enabled ? 'yes' : 'left out'],
    cell: (p) => <Status of={p.enabled ? 'online' : 'unknown'}>{p.enabled ? 'yes' : 'left out'}</Status>,
  },
  {
    key: 'added',
    title: 'Added',
    value: (p) => p.addedAt,
    cell: (p) => (
      <>
        <Ago at={p.addedAt} /> <span className="quiet">by {p.addedBy}</span>
      </>
    ),
    wideOnly: true,
  },
  { key: 'do', title: '', value: () => null, cell: (p) => <Doings of={p} /> },
];

export function Packages() {
  const all = useAll('/packages');
  const [adding, setAdding] = useState(false);
  return (
    <>
      <Head
        title="Packages"
        actions={
          <May to="add-package">
            <Button onClick={() => setAdding(true)}>Add a package</Button>
          </May>
        }
      />
      {adding && <Add close={() => setAdding(false)} />}
      <Installation />
      <Card title="The list" aside="what scripts may import" pad={false}>
        <Read query={all}>
          {(rows) => (
            <DataTable
              label="Packages"
              noun="package"
              columns={COLUMNS}
              rows={rows}
              id={(p) => p.name}
              sortBy="name"
              empty="No packages yet. Scripts may import what is on this list, each in an exact version; an installation pins the whole tree below it, and satellites fetch it from this core."
            />
          )}
        </Read>
      </Card>
      <div className="halves">
        <OnSatellites />
        <Trees />
      </div>
    </>
  );
}

function Add({ close }: { close: () => void }) {
  const add = queries.useMutation('post', '/packages');
  const [form, setForm] = useState({ name: '', version: '' });
  return (
    <Doing
      title="Add a package"
      button="Add it"
      close={close}
      touches="/packages"
      run={async () => {
        await add.mutateAsync({ body: { name: form.name.trim(), version: form.version.trim() } });
        close();
      }}
    >
      <Named label="Package" place="name" value={form.name} onChange={(name) => setForm({ ...form, name })} />
      <Named
        label="Exact version"
        place="version"
        value={form.version}
        onChange={(version) => setForm({ ...form, version })}
      />
      <p className="quiet small">Satellites get it with the next installation.</p>
    </Doing>
  );
}

function Doings({ of: p }: { of: Package }) {
  const enable = queries.useMutation('put', '/packages/enabled');
  const remove = queries.useMutation('delete', '/packages');
  const [removing, setRemoving] = useState(false);
  const may = useMay();
  if (!may('remove-package')) return null;
  return (
    <span className="row">
      {enable.error && (
        <span className="tone-bad" role="alert">
          {wordsOf(enable.error)}
        </span>
      )}
      <Button
        size="compact-sm"
        variant="default"
        loading={enable.isPending}
        aria-label={`${p.enabled ? 'Leave out' : 'Take in'} ${p.name}`}
        onClick={() => enable.mutate({ body: { name: p.name, enabled: !p.enabled } }, { onSettled: again })}
      >
        {p.enabled ? 'Leave out' : 'Take in'}
      </Button>
      <Button size="compact-sm" variant="default" aria-label={`Remove ${p.name}`} onClick={() => setRemoving(true)}>
        Remove
      </Button>
      {removing && (
        <Doing
          title={`Remove ${p.name}`}
          button="Take it off the list"
          danger
          close={() => setRemoving(false)}
          touches="/packages"
          run={async () => {
            await remove.mutateAsync({ params: { query: { name: p.name } } });
            setRemoving(false);
          }}
        >
          <p>Scripts that import it fail after the next installation.</p>
        </Doing>
      )}
    </span>
  );
}

const WORDS: Record<State['status'], [tone: string, words: string]> = {
  idle: ['unknown', 'nothing is installed yet'],
  installing: ['degraded', 'installing'],
  ready: ['ready', 'ready'],
  error: ['error', 'failed'],
};

function Installation() {
  const state = queries.useQuery('get', '/packages/install');
  const install = queries.useMutation('post', '/packages/install');
  const [wrong, setWrong] = useState('');
  return (
    <Card
      title="Installation"
      aside={
        <May to="install-packages">
          <Button
            size="compact-sm"
            loading={install.isPending || state.data?.status === 'installing'}
            onClick={async () => {
              setWrong('');
              await install.mutateAsync({}).catch((error) => setWrong(wordsOf(error)));
              await again();
            }}
          >
            Install the list
          </Button>
        </May>
      }
    >
      <Read query={state}>
        {(s) => (
          <div className="stack">
            {wrong && (
              <p className="tone-bad" role="alert">
                {wrong}
              </p>
            )}
            <Facts
              of={[
                [
                  'State',
                  <Status key="s" of={WORDS[s.status][0]}>
                    {WORDS[s.status][1]}
                  </Status>,
                ],
                ...(s.status === 'installing'
                  ? [
                      ['Progress', s.total ? `${s.done} of ${plural(s.total, 'package')}` : 'resolving the tree…'] as [
                        string,
                        string,
                      ],
                    ]
                  : []),
                ['Tree', hash(s.lockfileHash)],
                ['Packages', s.lastInstalledAt ? `${s.packages}, ${bytes(s.totalSizeBytes)}` : 'none'],
                ['Installed', s.lastInstalledAt ? <Ago key="i" at={s.lastInstalledAt} /> : 'never'],
                ['Registry', s.registry],
              ]}
            />
            {s.errorMessage && <p className="tone-bad">{s.errorMessage}</p>}
            {(s.warnings ?? []).map((w) => (
              <p key={w} className="tone-warn">
                {w}
              </p>
            ))}
            {s.outdated && s.status !== 'installing' && (
              <p>
                <Status of="degraded">
                  {s.lastInstalledAt
                    ? 'The list has changed since. Satellites get it with the next installation.'
                    : 'Scripts cannot import what is on the list until it is installed.'}
                </Status>
              </p>
            )}
          </div>
        )}
      </Read>
    </Card>
  );
}

const AT: Column<At>[] = [
  {
    key: 'satellite',
    title: 'Satellite',
    value: (s) => s.name,
    cell: (s) => (
      <Link to="/satellites/$id" params={{ id: s.satelliteId }}>
        {s.name}
      </Link>
    ),
  },
  {
    key: 'state',
    title: 'State',
    value: (s) => s.status,
    text: (s) => `${s.status} ${s.errorMessage ?? ''}`,
    kinds: (s) => [s.status],
    cell: (s) => (
      <>
        <Status of={s.status === 'ready' ? 'ready' : s.status === 'error' ? 'error' : 'unknown'}>{s.status}</Status>{' '}
        {s.errorMessage && <span className="tone-bad">{s.errorMessage}</span>}
      </>
    ),
  },
  { key: 'tree', title: 'Tree', value: (s) => s.lockfileHash, cell: (s) => hash(s.lockfileHash) },
  {
    key: 'said',
    title: 'Said',
    value: (s) => s.syncedAt,
    cell: (s) => s.syncedAt && <Ago at={s.syncedAt} />,
    wideOnly: true,
  },
];

function OnSatellites() {
  const all = useAll('/packages/satellites');
  return (
    <Card title="On satellites" pad={false}>
      <Read query={all}>
        {(rows) => (
          <DataTable
            label="On satellites"
            noun="satellite"
            name="at"
            columns={AT}
            rows={rows}
            id={(s) => s.satelliteId}
            sortBy="satellite"
            empty="No satellites yet. Each says here which tree it has."
          />
        )}
      </Read>
    </Card>
  );
}

function Trees() {
  const history = queries.useQuery('get', '/packages/history');
  const [collecting, setCollecting] = useState(false);
  return (
    <Card
      title="History"
      aside={
        <May to="collect-packages">
          <Button size="compact-sm" variant="default" onClick={() => setCollecting(true)}>
            Delete what no tree needs
          </Button>
        </May>
      }
      pad={false}
    >
      {collecting && <Collect close={() => setCollecting(false)} />}
      <Read query={history}>
        {(data) =>
          data.items?.length ? (
            <ol className="list events">
              {data.items.map((t) => (
                <li key={t.lockfileHash + t.installedAt}>
                  <Moment at={t.installedAt} />
                  <details>
                    <summary>
                      {hash(t.lockfileHash)} {plural((t.packages ?? []).length, 'package')}{' '}
                      {t.wanted && <span className="label">current</span>}
                    </summary>
                    <span className="mono small">
                      {(t.packages ?? []).map((p) => `${p.name}@${p.version}`).join(' ')}
                    </span>
                  </details>
                </li>
              ))}
            </ol>
          ) : (
            <p className="notice">Nothing is installed yet.</p>
          )
        }
      </Read>
    </Card>
  );
}

/** Deletes what no tree needs any more, after it is said what that is. */
function Collect({ close }: { close: () => void }) {
  const unneeded = queries.useQuery('get', '/packages/collect', {}, { staleTime: 0, gcTime: 0 });
  const collect = queries.useMutation('post', '/packages/collect');
  const done = collect.data;
  if (done) {
    return (
      <Dialog title="What no tree needs" close={close}>
        <div className="stack" role="status">
          <p>
            {plural(done.deleted, 'package')} deleted, {bytes(done.bytes)} in all.
          </p>
          {done.failed > 0 && (
            <p className="tone-warn">
              {plural(done.failed, 'package')} could not be deleted; the core tries again by itself.
            </p>
          )}
          <Button style={{ alignSelf: 'flex-start' }} onClick={close} data-autofocus>
            Done
          </Button>
        </div>
      </Dialog>
    );
  }
  return (
    <Doing
      title="What no tree needs"
      button={unneeded.data?.blobs ? `Delete ${plural(unneeded.data.blobs, 'package')}` : 'Delete'}
      danger
      disabled={!unneeded.data?.blobs}
      close={close}
      touches="/packages"
      run={async () => {
        await collect.mutateAsync({});
      }}
    >
      <Read query={unneeded}>
        {(u) =>
          u.blobs ? (
            <div className="stack">
              <p>
                {plural(u.blobs, 'package')} of {bytes(u.bytes)} in all, which neither the newest tree nor the one
                before needs. The list stays as it is. A package that is needed again is fetched again.
              </p>
              <p className="mono small">
                {(u.packages ?? []).join(', ')}
                {u.blobs > (u.packages ?? []).length && ' and others'}
              </p>
            </div>
          ) : (
            <p>
              There is nothing to delete: each package is needed by one of the newest two trees, or is younger than a
              day.
            </p>
          )
        }
      </Read>
    </Doing>
  );
}
