import { api, queryClient, type Schemas } from '../api/client';

type Satellite = Schemas['Satellite'];

const MOST_PATCHED = 25;
const FLEET_KEY = ['get', '/satellites', { all: true, query: {} }];

/** The list with what was read of some: changed, added in its place by name, or gone. */
export function patched(all: Satellite[], read: Map<string, Satellite | null>): Satellite[] {
  const known = new Set(all.map((s) => s.id));
  const next = all.flatMap((s) => {
    const fresh = read.get(s.id);
    return fresh === null ? [] : [fresh ?? s];
  });
  const added = [...read.values()].filter((s): s is Satellite => s !== null && !known.has(s.id));
  return added.length ? [...next, ...added].sort((a, b) => (a.name < b.name ? -1 : 1)) : next;
}

/**
 * Reads only these satellites and puts them into the whole list, if it was read. Gives
 * false when the list has to be read as a whole.
 */
export async function patchFleet(ids: string[]): Promise<boolean> {
  if (!queryClient.getQueryData(FLEET_KEY) || ids.length > MOST_PATCHED) return false;
  const read = new Map<string, Satellite | null>();
  await Promise.all(
    ids.map(async (id) => {
      const { data, response } = await api.GET('/satellites/{id}', { params: { path: { id } } });
      if (data) read.set(id, data);
      else if (response.status === 404) read.set(id, null);
    }),
  );
  if (read.size < ids.length) return false;
  queryClient.setQueryData<Satellite[]>(FLEET_KEY, (all) => all && patched(all, read));
  return true;
}
