import { Checkbox, Select, Textarea, TextInput } from '@mantine/core';
import { Link, useNavigate, useParams } from '@tanstack/react-router';
import { queries, type Schemas } from '../api/client';
import { Editor } from '../ui/editor';
import { Doing, useWrong } from '../ui/form';
import { Card, Head, Read } from '../ui/page';
import { type Schema, SchemaFields } from '../ui/schema-fields';

type ChannelInput = Schemas['ChannelInput'];
type Kind = ChannelInput['type'];

const text = (title: string, description?: string): Schema => ({ type: 'string', title, description });
const reference = (title: string, description?: string): Schema => ({
  ...text(title, description),
  'x-secret': 'reference',
});

/** What a channel of each kind needs. */
export const KINDS: Record<Kind, { title: string; of?: string; schema: Schema }> = {
  email: {
    title: 'E-mail',
    schema: {
      properties: {
        server: text('Server', 'The SMTP server, host:port.'),
        from: text('From', 'An address, as in Perigee <perigee@example.org>.'),
        to: { type: 'array', items: { type: 'string' }, title: 'To', description: 'Addresses.' },
        tls: { ...text('Encryption'), enum: ['starttls', 'tls', 'none'], default: 'starttls' },
        username: text('User name'),
        password: reference('Password', 'The secret that holds it.'),
      },
      required: ['server', 'from', 'to'],
    },
  },
  webhook: {
    title: 'Webhook',
    schema: {
      properties: {
        url: text('URL', 'Each message is posted there as JSON.'),
        secret: reference('Signing secret', 'Bodies are signed by it, in X-Perigee-Signature.'),
        headers: {
          type: 'object',
          additionalProperties: { type: 'string' },
          title: 'Headers',
          description: 'Values may refer to secrets, as checks do.',
        },
      },
      required: ['url'],
    },
  },
  shoutrrr: {
    title: 'Chat',
    of: 'Slack, Teams, Telegram and others',
    schema: {
      properties: {
        url: reference('URL', 'The secret that holds the service’s URL, such as slack://hook:…@webhook.'),
      },
      required: ['url'],
    },
  },
};

export function NewChannel() {
  const create = queries.useMutation('post', '/channels');
  return (
    <>
      <Head title="New channel" crumb={<Link to="/channels">Channels</Link>} />
      <Editing
        first={{ name: '', type: 'email', config: {} }}
        save={(body) => create.mutateAsync({ body })}
        button="Create the channel"
        kind
      />
    </>
  );
}

export function EditChannel() {
  const { id } = useParams({ strict: false }) as { id: string };
  const channel = queries.useQuery('get', '/channels/{id}', { params: { path: { id } } });
  const update = queries.useMutation('put', '/channels/{id}');
  return (
    <>
      <Head title={`Edit ${channel.data?.name ?? 'channel'}`} crumb={<Link to="/channels">Channels</Link>} />
      <Read query={channel}>
        {(c) => (
          <Editing
            key={c.id}
            first={{ name: c.name, description: c.description, enabled: c.enabled, type: c.type, config: c.config }}
            save={(body) => update.mutateAsync({ params: { path: { id: c.id } }, body })}
            button="Save"
          />
        )}
      </Read>
    </>
  );
}

function Editing({
  first,
  save,
  button,
  kind,
}: {
  first: ChannelInput;
  save: (c: ChannelInput) => Promise<unknown>;
  button: string;
  kind?: boolean;
}) {
  const navigate = useNavigate();
  const leave = () => navigate({ to: '/channels' });
  return (
    <Editor
      first={first}
      save={async (draft) => {
        await save(draft);
        await leave();
      }}
      button={button}
      cancel={() => void leave()}
      touches="/channels"
    >
      {(draft, change) => (
        <Card title="How people are told">
          <div className="stack">
            <ChannelFields value={draft} onChange={change} kind={kind} />
          </div>
        </Card>
      )}
    </Editor>
  );
}

function ChannelFields({
  value: c,
  onChange,
  kind,
}: {
  value: ChannelInput;
  onChange: (c: ChannelInput) => void;
  kind?: boolean;
}) {
  const nameWrong = useWrong('name');
  const typeWrong = useWrong('type');
  const descriptionWrong = useWrong('description');
  return (
    <>
      <Select
        label="Kind"
        allowDeselect={false}
        disabled={!kind}
        data={Object.entries(KINDS).map(([value, { title, of }]) => ({ value, label: of ? `${title}: ${of}` : title }))}
        value={c.type}
        error={typeWrong}
        onChange={(v) => onChange({ ...c, type: v as Kind, config: {} })}
      />
      <TextInput
        label="Name"
        description="Lower-case letters, digits, dots and dashes"
        required
        value={c.name}
        error={nameWrong}
        onChange={(e) => onChange({ ...c, name: e.currentTarget.value })}
      />
      <Textarea
        label="Description"
        autosize
        value={c.description ?? ''}
        error={descriptionWrong}
        onChange={(e) => onChange({ ...c, description: e.currentTarget.value })}
      />
      <SchemaFields
        key={c.type}
        schema={KINDS[c.type].schema}
        value={c.config as Record<string, unknown>}
        onChange={(config) => onChange({ ...c, config })}
        place="config"
      />
      <Checkbox
        label="Enabled"
        description="A channel that is not enabled sends nothing."
        checked={c.enabled !== false}
        onChange={(e) => onChange({ ...c, enabled: e.currentTarget.checked })}
      />
    </>
  );
}

export function DeleteChannel({ of: c, close }: { of: Schemas['Channel']; close: () => void }) {
  const remove = queries.useMutation('delete', '/channels/{id}');
  return (
    <Doing
      title={`Delete ${c.name}`}
      button="Delete it"
      danger
      close={close}
      touches="/channels"
      run={async () => {
        await remove.mutateAsync({ params: { path: { id: c.id } } });
        close();
      }}
    >
      <p>
        Nobody is told by it any more, and what it has delivered is forgotten. Automations that name it fail at that
        step. To stop it for a while, disable it.
      </p>
    </Doing>
  );
}
