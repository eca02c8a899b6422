import { QueryClient, type UseQueryOptions, useQuery } from '@tanstack/react-query';
import createClient from 'openapi-fetch';
import createHooks from 'openapi-react-query';
import type { components, operations, paths } from './schema';

export type Schemas = components['schemas'];
export type Problem = Schemas['Problem'];

/** How far the core's clock is ahead of ours, in milliseconds: ages are told by the core's. */
export let clockAhead = 0;

const signedOutListeners = new Set<() => void>();

/** Calls back when the core no longer takes the session. */
export function onSignedOut(listener: () => void): () => void {
  signedOutListeners.add(listener);
  return () => signedOutListeners.delete(listener);
}

export function noteAnswer(answer: Response): void {
  const date = Date.parse(answer.headers.get('Date') ?? '');
  // The header has whole seconds: less than two apart is no difference.
  if (date) clockAhead = Math.abs(date - Date.now()) > 2000 ? date - Date.now() : 0;
  if (answer.status === 401) for (const listener of signedOutListeners) listener();
}

export const api = createClient<paths>({ baseUrl: '/api/v1' });
api.use({
  onResponse({ response }) {
    noteAnswer(response);
  },
});

export const queries = createHooks(api);

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      // What is shown is kept true by the event stream, which says what to read again.
      staleTime: Number.POSITIVE_INFINITY,
      gcTime: 5 * 60_000,
      refetchOnWindowFocus: false,
      refetchOnReconnect: false,
      retry: (failures, error) => failures < 2 && !(error as unknown as Problem)?.status,
    },
    mutations: { retry: false },
  },
});

/** What went wrong, in words: a problem's detail with the fields that it is about. */
export function wordsOf(error: unknown): string {
  const problem = error as Problem & { message?: string };
  const fields = (problem?.errors ?? []).map((e) => `${e.location ? `${e.location}: ` : ''}${e.message ?? ''}`);
  const what = problem?.detail || problem?.title || problem?.message || 'The core does not answer.';
  return fields.length ? `${what} (${fields.join('; ')})` : what;
}

type Page<T> = { items: T[] | null; nextCursor: string | null };
type ListPath = {
  [P in keyof paths]: paths[P] extends {
    get: { responses: { 200: { content: { 'application/json': Page<unknown> } } } };
  }
    ? P
    : never;
}[keyof paths];
type ItemOf<P extends ListPath> = paths[P] extends {
  get: { responses: { 200: { content: { 'application/json': { items: (infer T)[] | null } } } } };
}
  ? T
  : never;

/** Reads every page of a list. */
export async function readAll<P extends ListPath>(
  path: P,
  query: Record<string, unknown> = {},
  signal?: AbortSignal,
): Promise<ItemOf<P>[]> {
  const all: ItemOf<P>[] = [];
  let cursor: string | undefined;
  do {
    const { data, error } = await (
      api.GET as (p: string, o: object) => Promise<{ data?: Page<ItemOf<P>>; error?: Problem }>
    )(path, { params: { query: { ...query, limit: 1000, ...(cursor ? { cursor } : {}) } }, signal });
    if (!data) throw error;
    all.push(...(data.items ?? []));
    cursor = data.nextCursor ?? undefined;
  } while (cursor);
  return all;
}

/** A whole list; the key is as of the other queries, so that events find it. */
export function useAll<P extends ListPath>(
  path: P,
  query: Record<string, unknown> = {},
  options: Partial<UseQueryOptions<ItemOf<P>[], Problem>> = {},
) {
  return useQuery<ItemOf<P>[], Problem>({
    queryKey: ['get', path, { all: true, query }],
    queryFn: ({ signal }) => readAll(path, query, signal),
    ...options,
  });
}

async function enterBy(path: '/session' | '/setup', body: object): Promise<void> {
  const answer = await fetch(path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(15_000),
  });
  if (!answer.ok) throw await answer.json().catch(() => ({ title: `The core answered ${answer.status}.` }));
}

export const signIn = (by: { token: string } | { user: string; password: string }) => enterBy('/session', by);

/** Makes the first administrator and signs them in, with the code that the core printed. */
export const setUp = (first: { code: string; user: string; password: string }) => enterBy('/setup', first);

/** What there is to sign in with: a set-up code that waits to be used, or users. */
export async function waysIn(): Promise<{ setup: boolean; users: boolean }> {
  const answer = await fetch('/session', { signal: AbortSignal.timeout(15_000) });
  if (!answer.ok) throw await answer.json().catch(() => ({ title: `The core answered ${answer.status}.` }));
  return answer.json();
}

export type Operation = keyof operations;

/** Whether who is signed in may do the operation; the core decides, this is for what is shown. */
export function useMay(): (operation: Operation) => boolean {
  const { data } = queries.useQuery('get', '/me');
  return (operation) => data?.may?.includes(operation) ?? false;
}

export async function signOut(): Promise<void> {
  await fetch('/session', { method: 'DELETE', signal: AbortSignal.timeout(15_000) });
}
