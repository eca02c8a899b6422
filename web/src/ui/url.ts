import { useNavigate, useSearch } from '@tanstack/react-router';
import { useCallback } from 'react';

type Values = Record<string, string | undefined>;

/** The state of a page that its address holds, so that it can be sent and come back to. */
export function useUrl(): [Values, (change: Values) => void] {
  const search = useSearch({ strict: false }) as Values;
  const navigate = useNavigate();
  const set = useCallback(
    (change: Values) => {
      void navigate({
        to: '.',
        replace: true,
        search: ((before: Values) => {
          const next = { ...before, ...change };
          for (const key of Object.keys(next)) if (!next[key]) delete next[key];
          return next;
        }) as never,
      });
    },
    [navigate],
  );
  return [search, set];
}
