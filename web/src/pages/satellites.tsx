import { Button, Checkbox } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { type Schemas, useAll, useMay } from '../api/client';
import { May } from '../ui/may';
import { Head, Labels, Read } from '../ui/page';
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

/** What to say of one whose heartbeat was never heard. */
export const unheardOf = (s: Satellite): string => (s.lastConnectionEvent === null ? 'never' : 'no heartbeat yet');

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

const labelsOf = (tags: Satellite['tags']) =>
  Object.entries(tags ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .join(' ');

const COLUMNS: Column<Satellite>[] = [
  {
    key: 'name',
    title: 'Name',
    value: (s) => s.name,
    text: (s) => `${s.name} ${s.inventory?.hostname ?? ''}`,
    cell: (s) => (
      <Link to="/satellites/$id" params={{ id: s.id }}>
        {s.name}
      </Link>
    ),
  },
  {
    key: 'status',
    title: 'Status',
    value: (s) => RANK[conditionOf(s)],
    text: (s) => [conditionOf(s), ...(s.observer?.ill ?? []).map((i) => i.kind)].join(' '),
    kinds: (s) => [conditionOf(s), s.status],
    cell: (s) => <Condition of={s} />,
  },
  { key: 'region', title: 'Region', value: (s) => s.region, kinds: (s) => [s.region], below: true },
  {
    key: 'heard',
    title: 'Last heard',
    newestFirst: true,
    below: true,
    value: (s) => (s.lastHeartbeatAt ? Date.parse(s.lastHeartbeatAt) : null),
    cell: (s) =>
      s.status === 'online' ? (
        <span className="quiet">within {Math.round((s.offlineThresholdMs || 45_000) / 1000)} s</span>
      ) : s.lastHeartbeatAt ? (
        <Ago at={s.lastHeartbeatAt} />
      ) : (
        <span className="quiet">{unheardOf(s)}</span>
      ),
  },
  { key: 'version', title: 'Version', value: (s) => s.version, wideOnly: true, roomOnly: true },
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
    text: (s) => (s.draining ? 'draining' : s.cordonedAt ? 'cordoned' : ''),
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
    text: (s) => labelsOf(s.tags),
    cell: (s) => <Labels of={s.tags} />,
    wideOnly: true,
  },
];

export function Satellites() {
  const all = useAll('/satellites');
  const [url, setUrl] = useUrl();
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
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
      <div className="card">
        <Read query={all}>
          {(rows) => (
            <DataTable
              label="Satellites"
              noun="satellite"
              columns={may ? choosable : COLUMNS}
              rows={rows}
              id={(s) => s.id}
              sortBy="status"
              tall
              above={(shown) =>
                may && (
                  <Bulk
                    chosen={shown.filter((s) => chosen.has(s.id))}
                    shown={shown}
                    choose={(ids) => setChosen(new Set(ids))}
                  />
                )
              }
              empty="No satellites yet. Create one, then run the command that you are given on the machine that it shall check from."
            />
          )}
        </Read>
      </div>
      <CreateSatellite open={url.create === '1'} close={() => setUrl({ create: undefined })} />
    </>
  );
}
