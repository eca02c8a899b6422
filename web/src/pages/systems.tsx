import { Button, Select, TextInput } from '@mantine/core';
import { useHotkeys } from '@mantine/hooks';
import { Link } from '@tanstack/react-router';
import { useRef } from 'react';
import { queries, type Schemas } from '../api/client';
import { May } from '../ui/may';
import { Head, Read } from '../ui/page';
import { matches } from '../ui/rows';
import { plural } from '../ui/span';
import { Status, severity } from '../ui/status';
import { type Column, DataTable } from '../ui/table';
import { Ago } from '../ui/time';
import { useUrl } from '../ui/url';
import { reasonOf } from './reason';

type SystemStatus = Schemas['SystemStatus'];

const COLUMNS: Column<SystemStatus>[] = [
  { key: 'status', title: 'Status', value: (s) => severity(s.status), cell: (s) => <Status of={s.status} /> },
  {
    key: 'name',
    title: 'System',
    value: (s) => s.system,
    cell: (s) => (
      <Link to="/systems/$id" params={{ id: s.systemId }}>
        {s.system}
      </Link>
    ),
  },
  {
    key: 'reason',
    title: 'Why',
    value: reasonOf,
    cell: (s) => <span className="reason">{s.totalChecks ? reasonOf(s) : 'no check is assigned to it'}</span>,
  },
  {
    key: 'since',
    title: 'Since',
    value: (s) => (s.since ? Date.parse(s.since) : null),
    cell: (s) => s.since && <Ago at={s.since} phrase="bare" />,
    wideOnly: true,
  },
  {
    key: 'checks',
    title: 'Checks healthy',
    number: true,
    value: (s) => s.healthyChecks,
    cell: (s) => `${s.healthyChecks} of ${s.totalChecks}`,
  },
];

export function Systems() {
  const status = queries.useQuery('get', '/status', {});
  const [url, setUrl] = useUrl();
  const search = useRef<HTMLInputElement>(null);
  useHotkeys([['/', () => search.current?.focus()]]);
  return (
    <>
      <Head
        title="Systems"
        actions={
          <May to="create-system">
            <Button component={Link} to="/systems/new">
              New system
            </Button>
          </May>
        }
      />
      <Read query={status}>
        {(data) => {
          const all = data.items ?? [];
          const rows = all.filter(
            (s) => (!url.status || s.status === url.status) && (!url.q || matches(`${s.system} ${reasonOf(s)}`, url.q)),
          );
          return (
            <>
              <div className="row" style={{ marginBottom: '0.75rem' }}>
                <TextInput
                  ref={search}
                  aria-label="Search systems and reasons"
                  placeholder="Search name or reason (press /)"
                  value={url.q ?? ''}
                  onChange={(e) => setUrl({ q: e.currentTarget.value })}
                  style={{ flex: '1 1 16rem', maxWidth: '26rem' }}
                />
                <Select
                  aria-label="Status"
                  placeholder="Any status"
                  clearable
                  data={['unhealthy', 'degraded', 'unknown', 'healthy']}
                  value={url.status ?? null}
                  onChange={(v) => setUrl({ status: v ?? undefined })}
                  w="10rem"
                />
                <span className="quiet" role="status">
                  {rows.length === all.length
                    ? plural(all.length, 'system')
                    : `${rows.length} of ${plural(all.length, 'system')}`}
                </span>
              </div>
              <div className="card">
                <DataTable
                  label="Systems"
                  columns={COLUMNS}
                  rows={rows}
                  id={(s) => s.systemId}
                  sortBy="status"
                  empty={
                    all.length
                      ? 'No system is like that.'
                      : 'No systems yet. A system is what people care about: a shop, a database. Make one, then assign checks to it.'
                  }
                />
              </div>
            </>
          );
        }}
      </Read>
    </>
  );
}
