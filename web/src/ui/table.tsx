import { Button, Select, TextInput } from '@mantine/core';
import { useHotkeys, useMediaQuery } from '@mantine/hooks';
import {
  type CSSProperties,
  memo,
  type ReactNode,
  useDeferredValue,
  useEffect,
  useMemo,
  useRef,
  useState,
} from 'react';
import { filtered, type Kind, kindsOf, sorted, visible } from './rows';
import { plural } from './span';
import { useUrl } from './url';

export interface Column<T> extends Kind<T> {
  title: string;
  cell?: (row: T) => ReactNode;
  number?: boolean;
  newestFirst?: boolean; // moments: what one looks for is the latest
  wideOnly?: boolean;
  roomOnly?: boolean; // only where there is a lot of room
  below?: boolean; // on a phone a row of a tall table has a second line: it is there
  width?: string;
}

const ROW = 37;
const TWO_LINES = 61;
const PHONE = '(max-width: 48em)'; // as of theme.css

/**
 * A table that is searched, filtered by the kinds of its columns and sorted by clicking
 * their titles, with all of that in the address; a page that has several names them. With
 * `tall` its rows have one height and only those in sight are drawn, so that ten thousand
 * are as quick as ten; what is last of a row is cut off where there is no room for it.
 */
export function DataTable<T>({
  label,
  noun,
  name = '',
  columns,
  rows,
  id,
  tall,
  sortBy,
  search = true,
  filters = true,
  above,
  empty,
}: {
  label: string;
  noun: string; // what one row is
  name?: string; // before its words in the address, and a point
  columns: Column<T>[];
  rows: T[];
  id: (row: T) => string;
  tall?: boolean;
  sortBy?: string;
  search?: boolean; // false: the page asks the core for what shall be in it
  filters?: boolean; // false: they stand elsewhere, for several tables of one name
  above?: (shown: T[]) => ReactNode;
  empty: ReactNode;
}) {
  const [url, setUrl] = useUrl();
  const at = placeIn(name);
  const { query, picked, found, clear } = useFiltered(name, columns, rows, search);
  const pickedKey = JSON.stringify(picked);
  const sort = url[at('sort')] ?? sortBy ?? '';
  const down = sort.startsWith('-');
  const by = columns.find((c) => c.key === sort.replace('-', ''));
  const ordered = useMemo(() => (by ? sorted(found, by.value, down) : found), [found, by, down]);
  const box = useRef<HTMLElement>(null);
  const phone = useMediaQuery(PHONE, undefined, { getInitialValueInEffect: false });
  const folded = tall && phone && columns.some((c) => c.below);
  const height = folded ? TWO_LINES : ROW;
  const [[from, to], setRange] = useState<[number, number]>([0, tall ? 60 : Number.MAX_SAFE_INTEGER]);
  useEffect(() => {
    const node = box.current;
    if (!tall || !node) return;
    const look = () => {
      const next = visible(ordered.length, node.scrollTop, node.clientHeight, height);
      setRange((was) => (was[0] === next[0] && was[1] === next[1] ? was : next));
    };
    look();
    node.addEventListener('scroll', look, { passive: true });
    addEventListener('resize', look);
    return () => {
      node.removeEventListener('scroll', look);
      removeEventListener('resize', look);
    };
  }, [tall, height, ordered.length]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: another filter or order is the reason
  useEffect(() => {
    if (box.current) box.current.scrollTop = 0;
  }, [query, pickedKey, sort]);
  if (rows.length === 0) return <div className="notice">{empty}</div>;
  const shown = tall ? ordered.slice(from, to) : ordered;
  return (
    <>
      {search && filters && (!name || rows.length > 1 || found.length < rows.length) && (
        <Filters label={label} noun={noun} name={name} columns={columns} rows={rows} />
      )}
      {above?.(ordered)}
      {found.length === 0 ? (
        <p className="notice">
          No {noun} matches.{' '}
          <Button size="compact-sm" variant="default" onClick={clear}>
            Show all
          </Button>
        </p>
      ) : (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
        <section className={`scroll${tall ? ' tall' : ''}`} ref={box} tabIndex={0} aria-label={label}>
          <table
            className={`data${tall ? ' fixed' : ''}`}
            style={folded ? ({ '--row': `${height}px` } as CSSProperties) : undefined}
            aria-rowcount={ordered.length + 1}
          >
            <thead>
              <tr>
                {columns.map((c) =>
                  c.title === '' ? (
                    <td key={c.key} />
                  ) : (
                    <th
                      key={c.key}
                      scope="col"
                      className={classOf(c)}
                      style={{ width: c.width }}
                      aria-sort={by?.key === c.key ? (down ? 'descending' : 'ascending') : undefined}
                    >
                      <button
                        type="button"
                        onClick={() => {
                          const turned = by?.key === c.key ? !down : c.newestFirst;
                          setUrl({ [at('sort')]: turned ? `-${c.key}` : c.key });
                        }}
                      >
                        {c.title}
                        <span aria-hidden="true">{by?.key === c.key ? (down ? ' ↓' : ' ↑') : ''}</span>
                      </button>
                    </th>
                  ),
                )}
              </tr>
            </thead>
            <tbody>
              {tall && from > 0 && <Spacer height={from * height} />}
              {shown.map((row, i) => (
                <Row
                  key={id(row)}
                  row={row}
                  columns={columns as Column<unknown>[]}
                  folded={folded}
                  index={tall ? from + i + 2 : undefined}
                />
              ))}
              {tall && to < ordered.length && <Spacer height={(ordered.length - to) * height} />}
            </tbody>
          </table>
        </section>
      )}
    </>
  );
}

const placeIn = (name: string) => (key: string) => (name ? `${name}.${key}` : key);

/** The rows that the address asks for. */
function useFiltered<T>(name: string, columns: Column<T>[], rows: T[], search = true) {
  const [url, setUrl] = useUrl();
  const at = placeIn(name);
  const query = url[at('q')] ?? '';
  const deferred = useDeferredValue(query);
  const picked = Object.fromEntries(columns.flatMap((c) => (c.kinds ? [[c.key, url[at(c.key)] ?? '']] : [])));
  const key = JSON.stringify(picked);
  const found = useMemo(
    () => (search ? filtered(columns, rows, deferred, JSON.parse(key)) : rows),
    [search, columns, rows, deferred, key],
  );
  const clear = () => setUrl(Object.fromEntries(['q', ...Object.keys(picked)].map((of) => [at(of), undefined])));
  return { query, picked, found, clear };
}

/** A search over all columns, a list to pick from for those that have kinds, and how many are left. */
export function Filters<T>({
  label,
  noun,
  name,
  columns,
  rows,
}: {
  label: string;
  noun: string;
  name: string; // without one the table is what the page is about: / leads to its search
  columns: Column<T>[];
  rows: T[];
}) {
  const [, setUrl] = useUrl();
  const at = placeIn(name);
  const { query, picked, found } = useFiltered(name, columns, rows);
  const input = useRef<HTMLInputElement>(null);
  const phone = useMediaQuery(PHONE, undefined, { getInitialValueInEffect: false });
  useHotkeys(name ? [] : [['/', () => input.current?.focus()]]);
  return (
    <div className="filters">
      <TextInput
        ref={input}
        size="xs"
        aria-label={`Search ${label}`}
        placeholder={name || phone ? 'Search' : 'Search (press /)'}
        value={query}
        onChange={(e) => setUrl({ [at('q')]: e.currentTarget.value })}
      />
      {columns.map(
        ({ key, title, kinds }) =>
          kinds && (
            <Select
              key={key}
              size="xs"
              aria-label={`${title} of ${label}`}
              placeholder={title}
              clearable
              searchable
              limit={100}
              data={kindsOf(kinds, rows, picked[key])}
              value={picked[key] || null}
              onChange={(value) => setUrl({ [at(key)]: value ?? undefined })}
            />
          ),
      )}
      <span className="quiet small" role="status">
        {found.length === rows.length
          ? plural(rows.length, noun)
          : `${found.length.toLocaleString('en')} of ${plural(rows.length, noun)}`}
      </span>
    </div>
  );
}

const classOf = (c: { number?: boolean; wideOnly?: boolean; roomOnly?: boolean }) =>
  [c.number && 'number', c.wideOnly && 'wide-only', c.roomOnly && 'room-only'].filter(Boolean).join(' ') || undefined;

const shownIn = (c: Column<unknown>, row: unknown) => (c.cell ? c.cell(row) : c.value(row));

interface RowProps {
  row: unknown;
  columns: Column<unknown>[];
  index?: number;
  folded?: boolean;
}

/** One row; while scrolling, those that stay are not drawn again. */
const Row = memo(({ row, columns, index, folded }: RowProps) => {
  const cells = folded ? columns.filter((c) => !c.below && !c.wideOnly) : columns;
  const name = columns.find((c) => c.title && !c.newestFirst); // is given what room there is
  const template = cells.map((c) => (c === name ? 'minmax(4rem, 1fr)' : 'minmax(0, auto)')).join(' ');
  return (
    <tr aria-rowindex={index} style={folded ? { gridTemplateColumns: template } : undefined}>
      {cells.map((c) => (
        <td key={c.key} className={classOf(c)} data-title={c.title}>
          {shownIn(c, row)}
        </td>
      ))}
      {folded && (
        <td className="below" style={{ gridColumn: `1 / span ${cells.length}` }}>
          {columns
            .filter((c) => c.below)
            .map((c) => (
              <span key={c.key}>{shownIn(c, row)}</span>
            ))}
        </td>
      )}
    </tr>
  );
});

const Spacer = ({ height }: { height: number }) => (
  <tr className="spacer">
    <td style={{ height }} />
  </tr>
);
