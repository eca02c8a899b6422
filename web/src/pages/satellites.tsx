import { Button, Checkbox, Select, TextInput } from '@mantine/core';
import { useHotkeys } from '@mantine/hooks';
import { Link } from '@tanstack/react-router';
import { useDeferredValue, useMemo, useRef, useState } from 'react';
import { type Schemas, useAll, useMay } from '../api/client';
import { May } from '../ui/may';
import { Head, Labels, Read } from '../ui/page';
import { matches } from '../ui/rows';
import { plural } from '../ui/span';
import { Status } from '../ui/status';
import { type Column, DataTable } from '../ui/table';
import { Ago } from '../ui/time';
import { useUrl } from '../ui/url';
import { CreateSatellite } from './satellite-create';
import { Bulk } from './satellites-bulk';

type Satellite = Schemas['Satellite'];

/** What to say of a satellite first: that it was never there, is gone, or is unwell. */
export function conditionOf(s: Satellite): string {
  if (s.lastConnectionEvent === null) return 'never connected';
  if (s.status === 'online' && s.illSince) return 'ill';
  return s.status;
}

const RANK: Record<string, number> = { offline: 0, ill: 1, 'never connected': 2, online: 3 };

export function Condition({ of: s }: { of: Satellite }) {
  const condition = conditionOf(s);
  const ill = (s.observer?.ill ?? []).map((i) => i.kind).join(', ');
  return (
    <Status of={condition}>
      {condition}
      {condition === 'ill' && ill ? `: ${ill}` : ''}
    </Status>
  );
}

const behind = (s: Satellite) => s.appliedRevision !== null && s.appliedRevision !== s.desiredRevision;

const COLUMNS: Column<Satellite>[] = [
  {
    key: 'name',
    title: 'Name',
    value: (s) => s.name,
    cell: (s) => (
      <Link to="/satellites/$id" params={{ id: s.id }}>
        {s.name}
      </Link>
    ),
  },
  { key: 'status', title: 'Status', value: (s) => RANK[conditionOf(s)], cell: (s) => <Condition of={s} /> },
  { key: 'region', title: 'Region', value: (s) => s.region },
  {
    key: 'heard',
    title: 'Last heard',
    value: (s) => (s.lastHeartbeatAt ? -Date.parse(s.lastHeartbeatAt) : null),
    cell: (s) =>
      s.status === 'online' ? (
        <span className="quiet">within {Math.round((s.offlineThresholdMs || 45_000) / 1000)} s</span>
      ) : s.lastHeartbeatAt ? (
        <Ago at={s.lastHeartbeatAt} />
      ) : (
        <span className="quiet">never</span>
      ),
  },
  { key: 'version', title: 'Version', value: (s) => s.version, wideOnly: true },
  {
    key: 'spool',
    title: 'Unsent',
    number: true,
    value: (s) => s.pulse?.spoolRecords ?? (s.pulse ? 0 : null),
    wideOnly: true,
  },
  {
    key: 'revision',
    title: 'Revision',
    value: (s) => (s.appliedErrors?.length ? 2 : behind(s) ? 1 : 0),
    cell: (s) =>
      s.appliedErrors?.length ? (
        <Status of="degraded">{plural(s.appliedErrors.length, 'error')}</Status>
      ) : behind(s) ? (
        <span>
          {s.appliedRevision}, should be {s.desiredRevision}
        </span>
      ) : (
        <span className="quiet">{s.appliedRevision === null ? '' : 'current'}</span>
      ),
    wideOnly: true,
  },
  {
    key: 'seats',
    title: 'Seats',
    number: true,
    value: (s) => s.seats,
    cell: (s) => (
      <>
        {s.draining ? 'draining ' : s.cordonedAt ? 'cordoned ' : ''}
        {s.seats}
      </>
    ),
    wideOnly: true,
  },
  {
    key: 'labels',
    title: 'Labels',
    value: (s) => Object.values(s.tags ?? {}).join(' '),
    cell: (s) => <Labels of={s.tags} />,
    wideOnly: true,
  },
];

const textOf = (s: Satellite) =>
  [
    s.name,
    s.region,
    s.version ?? '',
    s.inventory?.hostname ?? '',
    ...Object.entries(s.tags ?? {}).map(([k, v]) => `${k}=${v}`),
  ].join(' ');

export function Satellites() {
  const all = useAll('/satellites');
  const [url, setUrl] = useUrl();
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const query = useDeferredValue(url.q ?? '');
  const search = useRef<HTMLInputElement>(null);
  useHotkeys([['/', () => search.current?.focus()]]);
  const texts = useMemo(() => new Map((all.data ?? []).map((s) => [s.id, textOf(s)])), [all.data]);
  const regions = useMemo(() => [...new Set((all.data ?? []).map((s) => s.region))].sort(), [all.data]);
  const rows = useMemo(
    () =>
      (all.data ?? []).filter(
        (s) =>
          (!url.region || s.region === url.region) &&
          (!url.status || conditionOf(s) === url.status || s.status === url.status) &&
          (!query || matches(texts.get(s.id) ?? '', query)),
      ),
    [all.data, texts, query, url.region, url.status],
  );
  const may = useMay()('update-satellite');
  const choosable = useMemo(
    (): Column<Satellite>[] => [
      {
        key: 'chosen',
        title: '',
        value: () => null,
        cell: (s) => (
          <Checkbox
            size="xs"
            aria-label={`Choose ${s.name}`}
            checked={chosen.has(s.id)}
            onChange={(e) => {
              const { checked } = e.currentTarget;
              setChosen((was) => {
                const next = new Set(was);
                if (checked) next.add(s.id);
                else next.delete(s.id);
                return next;
              });
            }}
          />
        ),
      },
      ...COLUMNS,
    ],
    [chosen],
  );
  return (
    <>
      <Head
        title="Satellites"
        actions={
          <May to="create-satellite">
            <Button onClick={() => setUrl({ create: '1' })}>New satellite</Button>
          </May>
        }
      />
      <div className="row" style={{ marginBottom: '0.75rem' }}>
        <TextInput
          ref={search}
          aria-label="Search name, region, labels"
          placeholder="Search name, region, key=value (press /)"
          value={url.q ?? ''}
          onChange={(e) => setUrl({ q: e.currentTarget.value })}
          style={{ flex: '1 1 16rem', maxWidth: '26rem' }}
        />
        <Select
          aria-label="Status"
          placeholder="Any status"
          clearable
          data={['online', 'offline', 'ill', 'never connected']}
          value={url.status ?? null}
          onChange={(status) => setUrl({ status: status ?? undefined })}
          w="10rem"
        />
        <Select
          aria-label="Region"
          placeholder="Any region"
          clearable
          searchable
          limit={100}
          data={regions.filter(Boolean)}
          value={url.region ?? null}
          onChange={(region) => setUrl({ region: region ?? undefined })}
          w="10rem"
        />
        <span className="quiet" role="status">
          {all.data &&
            (rows.length === all.data.length
              ? plural(rows.length, 'satellite')
              : `${rows.length.toLocaleString('en')} of ${plural(all.data.length, 'satellite')}`)}
        </span>
      </div>
      <May to="update-satellite">
        <div style={{ marginBottom: '0.75rem' }}>
          <Bulk chosen={rows.filter((s) => chosen.has(s.id))} shown={rows} choose={(ids) => setChosen(new Set(ids))} />
        </div>
      </May>
      <div className="card">
        <Read query={all}>
          {(data) => (
            <DataTable
              label="Satellites"
              columns={may ? choosable : COLUMNS}
              rows={rows}
              id={(s) => s.id}
              sortBy="status"
              tall
              filter={`${query}/${url.status}/${url.region}`}
              empty={
                data.length
                  ? 'No satellite is like that. Fewer words, or another status, show more.'
                  : 'No satellites yet. Create one, and run the command that you are given wherever it shall check from.'
              }
            />
          )}
        </Read>
      </div>
      <CreateSatellite open={url.create === '1'} close={() => setUrl({ create: undefined })} />
    </>
  );
}
