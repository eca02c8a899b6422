import { ActionIcon, Menu, useMantineColorScheme, VisuallyHidden } from '@mantine/core';
import { Link, Outlet, useLocation } from '@tanstack/react-router';
import { useEffect } from 'react';
import { type Operation, queries, queryClient, signOut, useMay } from '../api/client';
import { useLive } from '../live/hooks';
import { stream } from '../live/stream';
import { zone } from '../ui/span';
import { Status } from '../ui/status';
import { Ago, useExactTimes } from '../ui/time';

const PLACES = [
  ['/', 'Overview'],
  ['/systems', 'Systems'],
  ['/checks', 'Checks'],
  ['/satellites', 'Satellites'],
  ['/incidents', 'Incidents'],
  ['/maintenances', 'Maintenance'],
  ['/automations', 'Automations'],
  ['/channels', 'Channels'],
] as const;

// What runs it, below what is watched: for whom it may concern.
const ADMIN: [path: string, name: string, may: Operation][] = [
  ['/packages', 'Packages', 'list-packages'],
  ['/secrets', 'Secrets', 'list-secrets'],
  ['/tokens', 'API tokens', 'list-tokens'],
  ['/users', 'Users', 'list-users'],
  ['/audit', 'Audit log', 'list-audit'],
  ['/settings', 'Settings', 'get-sandbox-policy'],
  ['/about', 'About', 'get-about'],
];

export function Shell() {
  const live = useLive();
  const may = useMay();
  const here = useLocation({ select: (at) => at.pathname });
  // On a phone the menu is a line that is longer than the screen.
  // biome-ignore lint/correctness/useExhaustiveDependencies: it is another one at another address
  useEffect(() => {
    document.querySelector('.side nav .active')?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }, [here, may('list-audit')]);
  return (
    <div className="frame">
      <a className="skip" href="#content">
        Skip to the content
      </a>
      <header className="side">
        <Link to="/" className="brand">
          <img src="/favicon.svg" alt="" width="22" height="22" /> Perigee
        </Link>
        <nav aria-label="Main">
          {PLACES.map(([to, name]) => (
            <Link
              key={to}
              to={to}
              activeProps={{ className: 'active' }}
              activeOptions={{ exact: to === '/', includeSearch: false }}
            >
              {name}
              {to === '/systems' && <Wrong />}
            </Link>
          ))}
          <h2 className="nav-group">Manage</h2>
          {ADMIN.filter(([, , operation]) => may(operation)).map(([to, name]) => (
            <Link key={to} to={to} activeProps={{ className: 'active' }} activeOptions={{ includeSearch: false }}>
              {name}
            </Link>
          ))}
        </nav>
        <div className="foot">
          <span className="live" role="status" aria-live="polite" data-live={live.state}>
            {live.state === 'live' && <Status of="online">Live</Status>}
            {live.state === 'connecting' && <Status of="unknown">Connecting…</Status>}
            {live.state === 'lost' && <Status of="degraded">Reconnecting</Status>}
          </span>
          <span className="quiet small wide-only">Times: {zone()}</span>
          <Preferences />
        </div>
      </header>
      <main className="content" id="content" tabIndex={-1}>
        {live.state === 'lost' && (
          <p className="lost" role="alert">
            {live.asOf ? (
              <>
                Reconnecting; what you see was true <Ago at={live.asOf} />.
              </>
            ) : (
              'The core cannot be reached yet.'
            )}{' '}
            {live.why}
          </p>
        )}
        <Outlet />
      </main>
    </div>
  );
}

/** How many systems are not well, so that the menu says it on every page. */
function Wrong() {
  const { data } = queries.useQuery('get', '/status', {});
  const bad = (data?.items ?? []).filter((s) => s.status === 'unhealthy').length;
  const warn = (data?.items ?? []).filter((s) => s.status === 'degraded').length;
  if (!bad && !warn) return null;
  return (
    <span className={`count-badge ${bad ? 'tone-bad ground-bad' : 'tone-warn ground-warn'}`}>
      {bad || warn} <VisuallyHidden>{bad ? 'unhealthy' : 'degraded'}</VisuallyHidden>
    </span>
  );
}

function Preferences() {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const { data: me } = queries.useQuery('get', '/me');
  const [exact, setExact] = useExactTimes();
  return (
    <Menu position="top-start">
      <Menu.Target>
        <ActionIcon variant="default" aria-label="Appearance and session">
          ⋯
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>Appearance</Menu.Label>
        {(['auto', 'light', 'dark'] as const).map((scheme) => (
          <Menu.Item
            key={scheme}
            onClick={() => setColorScheme(scheme)}
            rightSection={colorScheme === scheme ? '✓' : null}
          >
            {scheme === 'auto' ? 'As the device' : scheme === 'light' ? 'Light' : 'Dark'}
          </Menu.Item>
        ))}
        <Menu.Divider />
        <Menu.Label>Times are those of {zone()}</Menu.Label>
        {[false, true].map((whole) => (
          <Menu.Item key={String(whole)} onClick={() => setExact(whole)} rightSection={exact === whole ? '✓' : null}>
            {whole ? 'By date and clock' : 'In short, or by how long ago'}
          </Menu.Item>
        ))}
        <Menu.Divider />
        {me && (
          <Menu.Label>
            {me.name}, {me.role}
          </Menu.Label>
        )}
        {me?.user && (
          <Menu.Item component={Link} to="/password">
            Change your password
          </Menu.Item>
        )}
        <Menu.Item
          onClick={async () => {
            await signOut().catch(() => undefined);
            stream.stop();
            queryClient.clear();
            location.assign('/');
          }}
        >
          Sign out
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
