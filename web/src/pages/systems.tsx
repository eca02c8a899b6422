import { Button } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { queries, type Schemas } from '../api/client';
import { May } from '../ui/may';
import { Head, Read } from '../ui/page';
import { Status, severity } from '../ui/status';
import { type Column, DataTable } from '../ui/table';
import { Ago } from '../ui/time';
import { reasonOf } from './reason';

type SystemStatus = Schemas['SystemStatus'];

const COLUMNS: Column<SystemStatus>[] = [
  {
    key: 'status',
    title: 'Status',
    value: (s) => severity(s.status),
    text: (s) => s.status,
    kinds: (s) => [s.status],
    cell: (s) => <Status of={s.status} />,
  },
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
    title: 'For',
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
      <div className="card">
        <Read query={status}>
          {(data) => (
            <DataTable
              label="Systems"
              noun="system"
              columns={COLUMNS}
              rows={data.items ?? []}
              id={(s) => s.systemId}
              sortBy="status"
              empty="No systems yet. A system is what people care about: a shop, a database. Create one, then assign checks to it."
            />
          )}
        </Read>
      </div>
    </>
  );
}
