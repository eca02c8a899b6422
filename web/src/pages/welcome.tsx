import { TextInput } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { api, queries, queryClient, type Schemas } from '../api/client';
import { Form, useWrong } from '../ui/form';
import { Card, Head } from '../ui/page';
import { Status } from '../ui/status';
import { Enrol } from './satellite-create';
import { Named } from './users';
import { useOwnSatellite } from './where';

/** The first steps after the administrator: something to watch, and somewhere to watch it from. */
export function Welcome() {
  const systems = queries.useQuery('get', '/status', {});
  const [made, setMade] = useState<Schemas['SatelliteToken'] | null>(null);
  const first = systems.data?.items?.[0];
  return (
    <>
      <Head title="First steps" actions={<Link to="/">Skip to the overview</Link>} />
      <Card title="1. What shall be watched?">
        {first ? (
          <p role="status">
            <Status of={first.status} />{' '}
            <Link to="/systems/$id" params={{ id: first.systemId }}>
              {first.system}
            </Link>{' '}
            is watched.
          </p>
        ) : (
          <FirstSystem />
        )}
      </Card>
      <Card title="2. Where from?">
        {made ? <Enrol made={made} done={() => location.assign('/')} /> : <FirstSatellite made={setMade} />}
      </Card>
    </>
  );
}

/** A system with one check, that its page answers. */
function FirstSystem() {
  const own = useOwnSatellite();
  const [form, setForm] = useState({ name: '', url: 'https://' });
  return (
    <Form
      button="Watch it"
      touches="/"
      save={async () => {
        const name = form.name.trim();
        const said = async <T,>(answer: Promise<{ data?: T; error?: unknown }>) => {
          const { data, error } = await answer;
          if (error) throw error;
          return data;
        };
        const documents = [
          { apiVersion: 'perigee/v1', kind: 'System', metadata: { name }, spec: {} },
          {
            apiVersion: 'perigee/v1',
            kind: 'Check',
            metadata: { name: `${name}-page` },
            spec: {
              strategy: 'healthcheck-http.http',
              config: {},
              interval: '30s',
              collectors: [
                {
                  id: 'page',
                  collector: 'healthcheck-http.request',
                  config: { url: form.url.trim() },
                  assertions: [{ field: 'statusCode', operator: 'lessThan', value: 400 }],
                },
              ],
            },
          },
          {
            apiVersion: 'perigee/v1',
            kind: 'Assignment',
            metadata: { name: `${name}-page` },
            spec: { check: `${name}-page`, system: name, includeLocal: true, satellites: { selector: 'region' } },
          },
        ];
        await said(api.POST('/apply', { body: { documents: documents as never } }));
      }}
      placeOf={(location) =>
        location.includes('metadata.name') ? 'name' : location.includes('config.url') ? 'url' : location
      }
    >
      <p className="quiet">
        A system is what you watch; checks say how it is. This creates both: a page that must answer within the timeout,
        with a status below 400, every 30 seconds, from {own ? 'this core and every satellite' : 'every satellite'}.
      </p>
      <Named label="Name" place="name" value={form.name} onChange={(name) => setForm({ ...form, name })} />
      <Address value={form.url} onChange={(url) => setForm({ ...form, url })} />
    </Form>
  );
}

function Address({ value, onChange }: { value: string; onChange: (value: string) => void }) {
  const wrong = useWrong('url');
  return (
    <TextInput
      label="URL"
      required
      type="url"
      error={wrong}
      value={value}
      onChange={(e) => onChange(e.currentTarget.value)}
    />
  );
}

function FirstSatellite({ made }: { made: (made: Schemas['SatelliteToken']) => void }) {
  const create = queries.useMutation('post', '/satellites');
  const [form, setForm] = useState({ name: '', region: '' });
  return (
    <Form
      button="Create the satellite"
      touches="/none"
      save={async () => {
        made(await create.mutateAsync({ body: { name: form.name.trim(), region: form.region.trim() } }));
        await queryClient.invalidateQueries({ queryKey: ['get', '/satellites'] });
      }}
    >
      <p className="quiet">
        A satellite is a small program that dials out to this core from another network, and runs the checks there. You
        get the command to start it with.
      </p>
      <Named label="Satellite" place="name" value={form.name} onChange={(name) => setForm({ ...form, name })} />
      <TextInput
        label="Region"
        description="Satellites of one region count as one opinion."
        value={form.region}
        onChange={(e) => setForm({ ...form, region: e.currentTarget.value })}
      />
    </Form>
  );
}
