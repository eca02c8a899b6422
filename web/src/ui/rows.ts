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
