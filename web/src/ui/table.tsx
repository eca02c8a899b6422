import { memo, type ReactNode, useEffect, useMemo, useRef, useState } from 'react';
import { type Sortable, sorted, visible } from './rows';
import { useUrl } from './url';

export interface Column<T> {
  key: string;
  title: string;
  value: (row: T) => Sortable;
  cell?: (row: T) => ReactNode;
  number?: boolean;
  wideOnly?: boolean;
}

const ROW = 37;

/**
 * A table that is sorted by clicking its titles, with the order in the address. With
 * `tall` its rows have one height and only those in sight are drawn, so that ten thousand
 * are as quick as ten.
 */
export function DataTable<T>({
  label,
  columns,
  rows,
  id,
  tall,
  sortBy,
  filter,
  empty,
}: {
  label: string;
  columns: Column<T>[];
  rows: T[];
  id: (row: T) => string;
  tall?: boolean;
  sortBy?: string;
  filter?: string; // by which the rows were chosen: another one begins at the top
  empty: ReactNode;
}) {
  const [url, setUrl] = useUrl();
  const sort = url.sort ?? sortBy ?? '';
  const down = sort.startsWith('-');
  const by = columns.find((c) => c.key === sort.replace('-', ''));
  const ordered = useMemo(() => (by ? sorted(rows, by.value, down) : rows), [rows, by, down]);
  const box = useRef<HTMLElement>(null);
  const [[from, to], setRange] = useState<[number, number]>([0, tall ? 60 : Number.MAX_SAFE_INTEGER]);
  useEffect(() => {
    const node = box.current;
    if (!tall || !node) return;
    const look = () => {
      const next = visible(ordered.length, node.scrollTop, node.clientHeight, ROW);
      setRange((was) => (was[0] === next[0] && was[1] === next[1] ? was : next));
    };
    look();
    node.addEventListener('scroll', look, { passive: true });
    addEventListener('resize', look);
    return () => {
      node.removeEventListener('scroll', look);
      removeEventListener('resize', look);
    };
  }, [tall, ordered.length]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: another filter or order is the reason
  useEffect(() => {
    if (box.current) box.current.scrollTop = 0;
  }, [filter, sort]);
  if (rows.length === 0) return <div className="notice">{empty}</div>;
  const shown = tall ? ordered.slice(from, to) : ordered;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <section className={`scroll${tall ? ' tall' : ''}`} ref={box} tabIndex={0} aria-label={label}>
      <table className={`data${tall ? ' fixed' : ''}`} aria-rowcount={rows.length + 1}>
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
                  aria-sort={by?.key === c.key ? (down ? 'descending' : 'ascending') : undefined}
                >
                  <button type="button" onClick={() => setUrl({ sort: sort === c.key ? `-${c.key}` : c.key })}>
                    {c.title}
                    <span aria-hidden="true">{by?.key === c.key ? (down ? ' ↓' : ' ↑') : ''}</span>
                  </button>
                </th>
              ),
            )}
          </tr>
        </thead>
        <tbody>
          {tall && from > 0 && <Spacer height={from * ROW} />}
          {shown.map((row, i) => (
            <Row
              key={id(row)}
              row={row}
              columns={columns as Column<unknown>[]}
              index={tall ? from + i + 2 : undefined}
            />
          ))}
          {tall && to < ordered.length && <Spacer height={(ordered.length - to) * ROW} />}
        </tbody>
      </table>
    </section>
  );
}

const classOf = (c: { number?: boolean; wideOnly?: boolean }) =>
  [c.number && 'number', c.wideOnly && 'wide-only'].filter(Boolean).join(' ') || undefined;

/** One row; while scrolling, those that stay are not drawn again. */
const Row = memo(({ row, columns, index }: { row: unknown; columns: Column<unknown>[]; index?: number }) => (
  <tr aria-rowindex={index}>
    {columns.map((c) => (
      <td key={c.key} className={classOf(c)}>
        {c.cell ? c.cell(row) : c.value(row)}
      </td>
    ))}
  </tr>
));

const Spacer = ({ height }: { height: number }) => (
  <tr className="spacer">
    <td style={{ height }} />
  </tr>
);
