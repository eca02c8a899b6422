import { Alert, Button, CopyButton, Modal, SegmentedControl, TextInput } from '@mantine/core';
import { useState } from 'react';
import { queries, queryClient, type Schemas, wordsOf } from '../api/client';
import { Status } from '../ui/status';
import { commandOf, labelsOf, WAYS, type Way } from './satellite-commands';

type Made = Schemas['SatelliteToken'];

export function CreateSatellite({ open, close }: { open: boolean; close: () => void }) {
  const create = queries.useMutation('post', '/satellites');
  const [made, setMade] = useState<Made | null>(null);
  const [wrong, setWrong] = useState('');
  const [form, setForm] = useState({ name: '', region: '', labels: '' });
  const end = () => {
    setMade(null);
    setWrong('');
    setForm({ name: '', region: '', labels: '' });
    close();
  };
  const set = (field: keyof typeof form) => (e: { currentTarget: { value: string } }) =>
    setForm({ ...form, [field]: e.currentTarget.value });
  return (
    <Modal
      opened={open}
      onClose={end}
      title={made ? `Satellite ${made.satellite.name}` : 'New satellite'}
      size="xl"
      closeOnClickOutside={!made}
      closeOnEscape={!made}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      {made ? (
        <Enrol made={made} done={end} />
      ) : (
        <form
          className="stack"
          onSubmit={async (event) => {
            event.preventDefault();
            setWrong('');
            try {
              setMade(
                await create.mutateAsync({
                  body: { name: form.name.trim(), region: form.region.trim(), tags: labelsOf(form.labels) },
                }),
              );
              void queryClient.invalidateQueries({ queryKey: ['get', '/satellites'] });
            } catch (error) {
              setWrong(wordsOf(error));
            }
          }}
        >
          <TextInput
            label="Name"
            description="Unique, after the place that it checks from, such as fra-1."
            required
            data-autofocus
            value={form.name}
            onChange={set('name')}
          />
          <TextInput
            label="Region"
            description="Satellites of one region count as one opinion."
            required
            value={form.region}
            onChange={set('region')}
          />
          <TextInput
            label="Labels"
            description="key=value, with spaces between; assignments select by them."
            value={form.labels}
            onChange={set('labels')}
          />
          {wrong && (
            <p className="tone-bad" role="alert">
              {wrong}
            </p>
          )}
          <Button type="submit" loading={create.isPending}>
            Create
          </Button>
        </form>
      )}
    </Modal>
  );
}

/** The token, this once, in commands that are ready to be run; and whether it has come. */
export function Enrol({ made, done }: { made: Made; done: () => void }) {
  const [way, setWay] = useState<Way>('shell');
  const { data } = queries.useQuery('get', '/satellites/{id}', { params: { path: { id: made.satellite.id } } });
  const command = commandOf(way, location.origin, made.satellite.id, made.token);
  return (
    <div className="stack">
      <Alert color="yellow" variant="outline">
        The token is shown this once. Copy the command now; if it is lost, rotate the token.
      </Alert>
      <SegmentedControl
        fullWidth
        value={way}
        onChange={(v) => setWay(v as Way)}
        data={WAYS.map((w) => ({ value: w.way, label: w.title }))}
        aria-label="Where it shall run"
      />
      <p className="quiet">{WAYS.find((w) => w.way === way)?.hint}</p>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <pre tabIndex={0} data-command={way} style={{ maxHeight: '40vh' }}>
        {command}
      </pre>
      <div className="row">
        <CopyButton value={command}>
          {({ copied, copy }) => <Button onClick={copy}>{copied ? 'Copied' : 'Copy the command'}</Button>}
        </CopyButton>
        <Button variant="default" onClick={done}>
          Done
        </Button>
        <span role="status" aria-live="polite" data-enrolled={data?.status}>
          {data?.status === 'online' ? (
            <Status of="online">It is online.</Status>
          ) : (
            <Status of="unknown">Waiting for it to connect…</Status>
          )}
        </span>
      </div>
    </div>
  );
}
