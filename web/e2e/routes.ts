/** What is known of a page: its picture in docs/screenshots or why it has none, and an address at which the walk of story.e2e.ts finds it. */
export interface Route {
  picture?: string;
  none?: string;
  // A function of the ids of what the walk has made.
  walk: string | ((ids: Ids) => string);
}

export interface Ids {
  assignment: string;
  verdict: string;
  incident: string;
  maintenance: string;
  run: string;
}

/** Every page of web/src/app/router.tsx; routes.e2e.ts fails when one is missing here. */
export const ROUTES: Record<string, Route> = {
  '/': { picture: 'overview', walk: '/' },
  '/satellites': { picture: 'satellites', walk: '/satellites' },
  '/satellites/$id': { picture: 'satellite', walk: '/satellites/fra-1' },
  '/systems': { picture: 'systems', walk: '/systems' },
  '/systems/new': { none: 'the same form as when one is edited, empty', walk: '/systems/new' },
  '/systems/$id': { picture: 'system', walk: '/systems/shop' },
  '/systems/$id/edit': { picture: 'system-editor', walk: '/systems/shop/edit' },
  '/checks': { picture: 'checks', walk: '/checks' },
  '/checks/new': { picture: 'check-editor', walk: '/checks/new' },
  '/checks/$id': { picture: 'check', walk: '/checks/front-page' },
  '/checks/$id/edit': { picture: 'check-try', walk: '/checks/front-page/edit' },
  '/assignments/new': { picture: 'assignment-editor', walk: '/assignments/new?check=front-page&system=shop' },
  '/assignments/$id/edit': {
    none: 'the same form as of a new one, filled in',
    walk: (i) => `/assignments/${i.assignment}/edit`,
  },
  '/checks/$id/evidence/$verdict': { picture: 'evidence', walk: (i) => `/checks/front-page/evidence/${i.verdict}` },
  '/maintenances': { picture: 'maintenances', walk: '/maintenances' },
  '/maintenances/new': { picture: 'maintenance-editor', walk: '/maintenances/new' },
  '/maintenances/$id/edit': {
    none: 'the same form as of a new one, filled in',
    walk: (i) => `/maintenances/${i.maintenance}/edit`,
  },
  '/incidents': { picture: 'incidents', walk: '/incidents' },
  '/incidents/$id': { picture: 'incident', walk: (i) => `/incidents/${i.incident}` },
  '/automations': { picture: 'automations', walk: '/automations' },
  '/automations/new': { picture: 'automation-editor', walk: '/automations/new' },
  '/automations/$id': { picture: 'automation', walk: '/automations/walked' },
  '/automation-runs/$id': { picture: 'automation-run', walk: (i) => `/automation-runs/${i.run}` },
  '/channels': { picture: 'channels', walk: '/channels' },
  '/channels/new': { picture: 'channel-editor', walk: '/channels/new' },
  '/channels/$id/edit': { none: 'the same form as of a new one, filled in', walk: '/channels/walked/edit' },
  '/packages': { picture: 'packages', walk: '/packages' },
  '/secrets': { picture: 'secrets', walk: '/secrets' },
  '/tokens': { picture: 'tokens', walk: '/tokens' },
  '/users': { picture: 'users', walk: '/users' },
  '/password': { none: 'three fields for a password, of which a picture tells nothing', walk: '/password' },
  '/audit': { picture: 'audit', walk: '/audit' },
  '/settings': { picture: 'settings', walk: '/settings' },
  '/about': { picture: 'about', walk: '/about' },
  '/welcome': { picture: 'first-steps', walk: '/welcome' },
};
