/** A column of a table: what it shows and what it is sorted by. */
export type Sortable = string | number | null | undefined;

/** The order of values: numbers by size, words as people sort them, nothing last. */
export function compare(a: Sortable, b: Sortable): number {
  const none = (v: Sortable) => v === null || v === undefined || v === '';
  if (none(a) || none(b)) return Number(none(a)) - Number(none(b));
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}

/** Sorts by a value; nothing comes last whichever way. */
export function sorted<T>(rows: T[], value: (row: T) => Sortable, down: boolean): T[] {
  const keyed = rows.map((row) => [value(row), row] as const);
  keyed.sort(([a], [b]) => {
    const order = compare(a, b);
    const none = (v: Sortable) => v === null || v === undefined || v === '';
    return down && !none(a) && !none(b) ? -order : order;
  });
  return keyed.map(([, row]) => row);
}

/** Which of n rows of a fixed height are to be drawn. */
export function visible(n: number, top: number, height: number, rowHeight: number, margin = 12): [number, number] {
  const from = Math.max(0, Math.floor(top / rowHeight) - margin);
  return [Math.min(from, n), Math.min(n, Math.ceil((top + height) / rowHeight) + margin)];
}

/** Whether each word of the query is somewhere in the text; key=value only as a whole. */
export function matches(text: string, query: string): boolean {
  const lower = ` ${text.toLowerCase()} `;
  return query
    .toLowerCase()
    .trim()
    .split(/\s+/)
    .every((word) => lower.includes(word.includes('=') ? ` ${word} ` : word));
}

/** What a column is, beside how it is drawn. */
export interface Kind<T> {
  key: string;
  value: (row: T) => Sortable;
  text?: (row: T) => string; // what a search finds, when it is not the value
  kinds?: (row: T) => string[]; // what rows can be chosen by: a list to pick from
}

/** Everything of a row that a search looks into. */
function textOf<T>(columns: Kind<T>[], row: T): string {
  return columns
    .map((c) => {
      const value = c.text ? c.text(row) : c.value(row);
      return typeof value === 'string' ? value : '';
    })
    .join(' ');
}

/** The rows that have each word of the query, and of each chosen column that kind. */
export function filtered<T>(columns: Kind<T>[], rows: T[], query: string, picked: Record<string, string>): T[] {
  const by = columns.filter((c) => c.kinds && picked[c.key]);
  if (!query.trim() && !by.length) return rows;
  return rows.filter(
    (row) =>
      by.every((c) => c.kinds?.(row).includes(picked[c.key] ?? '')) &&
      (!query.trim() || matches(textOf(columns, row), query)),
  );
}

/** The kinds that there are among the rows, with the one that is picked. */
export function kindsOf<T>(of: (row: T) => string[], rows: T[], picked?: string): string[] {
  const all = new Set(rows.flatMap(of).filter(Boolean));
  if (picked) all.add(picked);
  return [...all].sort((a, b) => compare(a, b));
}
