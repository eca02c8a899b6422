import { createRootRoute, createRoute, createRouter, lazyRouteComponent } from '@tanstack/react-router';
import { Head } from '../ui/page';
import { Shell } from './shell';

const root = createRootRoute({
  component: Shell,
  notFoundComponent: () => (
    <>
      <Head title="There is no such page" />
      <p>The address may be mistyped, or what was here is gone. The menu has everything that there is.</p>
    </>
  ),
  // Pages keep their state in the query, each value as text.
  validateSearch: (search: Record<string, unknown>): Record<string, string> =>
    Object.fromEntries(
      Object.entries(search).flatMap(([key, value]) =>
        value === undefined || value === null ? [] : [[key, String(value)]],
      ),
    ),
});

// biome-ignore lint/suspicious/noExplicitAny: each page is a module with one component
type Module = Promise<any>;
const page = (path: string, load: () => Module, name: string) =>
  createRoute({ getParentRoute: () => root, path, component: lazyRouteComponent(() => load().catch(whenThere), name) });

/**
 * A page that is not had while the core is away is asked for when it is back: on what
 * this throws the router reads everything anew, which before would end on the browser's
 * own page of an error.
 */
async function whenThere(error: unknown): Promise<never> {
  const there = () => fetch('/readyz', { cache: 'no-store' }).catch(() => null);
  while (!(await there())) await new Promise((resolve) => setTimeout(resolve, 1000));
  throw error;
}

const satellites = () => import('../pages/satellites');
const satellite = () => import('../pages/satellite');
const systems = () => import('../pages/systems');
const checks = () => import('../pages/checks');
const checkEditor = () => import('../pages/check-editor');
const systemEditor = () => import('../pages/system-editor');
const assignments = () => import('../pages/assignments');
const maintenanceEditor = () => import('../pages/maintenance-editor');
const channelEditor = () => import('../pages/channel-editor');
const incidents = () => import('../pages/incidents');
const automations = () => import('../pages/automations');
const users = () => import('../pages/users');

const routes = [
  page('/', () => import('../pages/overview'), 'Overview'),
  page('/satellites', satellites, 'Satellites'),
  page('/satellites/$id', satellite, 'Satellite'),
  page('/systems', systems, 'Systems'),
  page('/systems/new', systemEditor, 'NewSystem'),
  page('/systems/$id', () => import('../pages/system'), 'System'),
  page('/systems/$id/edit', systemEditor, 'EditSystem'),
  page('/checks', checks, 'Checks'),
  page('/checks/new', checkEditor, 'NewCheck'),
  page('/checks/$id', checks, 'Check'),
  page('/checks/$id/edit', checkEditor, 'EditCheck'),
  page('/assignments/new', assignments, 'NewAssignment'),
  page('/assignments/$id/edit', assignments, 'EditAssignment'),
  page('/checks/$id/evidence/$verdict', () => import('../pages/evidence'), 'Evidence'),
  page('/maintenances', () => import('../pages/maintenances'), 'Maintenances'),
  page('/maintenances/new', maintenanceEditor, 'NewMaintenance'),
  page('/maintenances/$id/edit', maintenanceEditor, 'EditMaintenance'),
  page('/incidents', incidents, 'Incidents'),
  page('/incidents/$id', incidents, 'Incident'),
  page('/automations', automations, 'Automations'),
  page('/automations/new', () => import('../pages/automation-editor'), 'NewAutomation'),
  page('/automations/$id', automations, 'Automation'),
  page('/automation-runs/$id', () => import('../pages/automation-run'), 'AutomationRun'),
  page('/channels', () => import('../pages/channels'), 'Channels'),
  page('/channels/new', channelEditor, 'NewChannel'),
  page('/channels/$id/edit', channelEditor, 'EditChannel'),
  page('/packages', () => import('../pages/packages'), 'Packages'),
  page('/secrets', () => import('../pages/secrets'), 'Secrets'),
  page('/tokens', () => import('../pages/tokens'), 'Tokens'),
  page('/users', users, 'Users'),
  page('/password', users, 'Password'),
  page('/audit', () => import('../pages/audit'), 'Audit'),
  page('/settings', () => import('../pages/settings'), 'Settings'),
  page('/about', () => import('../pages/about'), 'About'),
  page('/welcome', () => import('../pages/welcome'), 'Welcome'),
];

export const router = createRouter({
  routeTree: root.addChildren(routes),
  defaultPreload: 'intent',
  scrollRestoration: true,
  // Values are plain text in the address: ?q=eu&sort=-name.
  parseSearch: (text) => Object.fromEntries(new URLSearchParams(text)),
  stringifySearch: (search) => {
    const text = new URLSearchParams(search as Record<string, string>).toString();
    return text ? `?${text}` : '';
  },
});
