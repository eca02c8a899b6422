import { Button } from '@mantine/core';
import type { UseQueryResult } from '@tanstack/react-query';
import { type ReactNode, useEffect } from 'react';
import { type Problem, wordsOf } from '../api/client';

/** The head of a page: where it is, its name, and what can be done there. */
export function Head({
  title,
  crumb,
  children,
  actions,
}: {
  title: string;
  crumb?: ReactNode;
  children?: ReactNode;
  actions?: ReactNode;
}) {
  useEffect(() => {
    document.title = `${title} · Perigee`;
  }, [title]);
  return (
    <div className="head">
      {crumb && <div className="crumb">{crumb}</div>}
      <h1>{title}</h1>
      {children}
      {actions && <div className="actions">{actions}</div>}
    </div>
  );
}

export function Card({
  title,
  aside,
  children,
  pad = true,
}: {
  title: ReactNode;
  aside?: ReactNode;
  children: ReactNode;
  pad?: boolean;
}) {
  return (
    <section className="card">
      <header>
        <h2>{title}</h2>
        {aside && <span className="aside">{aside}</span>}
      </header>
      {pad ? <div className="body">{children}</div> : children}
    </section>
  );
}

/** Shows what was read, or that it is being read, or why it could not be. */
export function Read<T>({ query, children }: { query: UseQueryResult<T, unknown>; children: (data: T) => ReactNode }) {
  if (query.data !== undefined) {
    return (
      <>
        {query.error != null && <Wrong error={query.error} what="This may be old: " />}
        {children(query.data)}
      </>
    );
  }
  // What is not there is not there the next time either.
  const gone = (query.error as Problem | null)?.status === 404;
  if (query.error) return <Wrong error={query.error} again={gone ? undefined : () => void query.refetch()} />;
  return (
    <p className="notice" role="status">
      Reading…
    </p>
  );
}

export function Wrong({ error, what = '', again }: { error: unknown; what?: string; again?: () => void }) {
  return (
    <p className="problem" role="alert">
      {what}
      {wordsOf(error)}{' '}
      {again && (
        <Button size="compact-sm" variant="default" onClick={again}>
          Try again
        </Button>
      )}
    </p>
  );
}

export function Facts({ of }: { of: [ReactNode, ReactNode][] }) {
  return (
    <dl className="facts">
      {of.map(([term, what], i) => (
        <div key={i} style={{ display: 'contents' }}>
          <dt>{term}</dt>
          <dd>{what ?? <span className="quiet">—</span>}</dd>
        </div>
      ))}
    </dl>
  );
}

export function Labels({ of }: { of: Record<string, string> | null | undefined }) {
  return (
    <>
      {Object.entries(of ?? {}).map(([key, value]) => (
        <span className="label" key={key}>
          {key}={value}
        </span>
      ))}
    </>
  );
}
