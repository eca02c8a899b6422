import { SegmentedControl } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { api, clockAhead, type Problem, type Schemas } from '../api/client';
import { useUrl } from './url';

const WINDOWS: Record<string, number> = {
  '1h': 3_600_000,
  '8h': 8 * 3_600_000,
  '24h': 86_400_000,
  '7d': 7 * 86_400_000,
  '30d': 30 * 86_400_000,
};

/** How far back a page looks; it stands in the address. */
export function useWindow(): [name: string, ms: number, set: (name: string) => void] {
  const [url, setUrl] = useUrl();
  const name = url.window && WINDOWS[url.window] ? url.window : '8h';
  return [name, WINDOWS[name] as number, (window) => setUrl({ window: window === '8h' ? undefined : window })];
}

export function WindowPicker() {
  const [name, , set] = useWindow();
  return (
    <SegmentedControl size="xs" value={name} onChange={set} data={Object.keys(WINDOWS)} aria-label="How far back" />
  );
}

type Of = { path: '/systems/{id}/history' | '/checks/{id}/history'; id: string };
type By = 'check' | 'system' | 'satellite' | 'region' | 'location';

/** The history of a system or a check over the window of the page. */
export function useHistory({ path, id }: Of, by?: By, query: { system?: string; check?: string } = {}) {
  const [name, ms] = useWindow();
  return useQuery<Schemas['History'], Problem>({
    queryKey: ['get', path, { id, by, query, name }],
    queryFn: async ({ signal }) => {
      const from = new Date(Date.now() + clockAhead - ms).toISOString();
      const { data, error } = await api.GET(path, {
        params: { path: { id }, query: { from, ...(by ? { by } : {}), ...query } },
        signal,
      });
      if (!data) throw error;
      return data;
    },
    placeholderData: (before) => before,
  });
}
