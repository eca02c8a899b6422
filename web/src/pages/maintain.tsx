import { Button, Modal, Select, TextInput } from '@mantine/core';
import { useState } from 'react';
import { clockAhead, queries, queryClient, wordsOf } from '../api/client';

const HOUR = 3_600_000;
const LENGTHS = [
  { value: '0.5', label: '30 minutes' },
  { value: '1', label: '1 hour' },
  { value: '4', label: '4 hours' },
  { value: '24', label: '1 day' },
];

/** Begins a maintenance of one system now. */
export function MaintainButton({ system }: { system: string }) {
  const [open, setOpen] = useState(false);
  const [why, setWhy] = useState('');
  const [hours, setHours] = useState('1');
  const [wrong, setWrong] = useState('');
  const create = queries.useMutation('post', '/maintenances');
  return (
    <>
      <Button variant="default" onClick={() => setOpen(true)}>
        Begin maintenance
      </Button>
      <Modal
        opened={open}
        onClose={() => setOpen(false)}
        title={`Maintenance of ${system}`}
        closeButtonProps={{ 'aria-label': 'Close' }}
      >
        <form
          className="stack"
          onSubmit={async (event) => {
            event.preventDefault();
            setWrong('');
            try {
              const start = new Date(Date.now() + clockAhead);
              await create.mutateAsync({
                body: {
                  name: `${system} ${start.toISOString().slice(0, 19)}`,
                  description: why,
                  systems: { names: [system] },
                  start: start.toISOString(),
                  end: new Date(start.getTime() + Number(hours) * HOUR).toISOString(),
                },
              });
              await queryClient.invalidateQueries({ queryKey: ['get', '/maintenances'] });
              setOpen(false);
            } catch (error) {
              setWrong(wordsOf(error));
            }
          }}
        >
          <TextInput label="Why" data-autofocus value={why} onChange={(e) => setWhy(e.currentTarget.value)} />
          <Select
            label="For how long"
            data={LENGTHS}
            value={hours}
            onChange={(v) => setHours(v ?? '1')}
            allowDeselect={false}
          />
          <p className="quiet small">
            Checks go on and are judged; nobody is alarmed. It can be ended sooner on the page Maintenance.
          </p>
          {wrong && (
            <p className="tone-bad" role="alert">
              {wrong}
            </p>
          )}
          <Button type="submit" loading={create.isPending}>
            Begin now
          </Button>
        </form>
      </Modal>
    </>
  );
}
