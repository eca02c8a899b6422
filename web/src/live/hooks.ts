import { useSyncExternalStore } from 'react';
import type { Event } from './stale';
import { type Live, stream } from './stream';

export const useLive = (): Live => useSyncExternalStore(stream.subscribe, () => stream.live);
export const useHeard = (): Event[] => useSyncExternalStore(stream.subscribe, () => stream.events);

const listeners = new Set<() => void>();
let now = Date.now();
setInterval(() => {
  now = Date.now();
  for (const listener of listeners) listener();
}, 1000);

/** The time, to the second: all ages on the page move together. */
export function useNow(): number {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => now,
  );
}
