/** A key on the way to a place, with the other keys of its mapping; "[]" is an item of a list. */
export interface Step {
  key: string;
  beside: Record<string, string>;
}

/** Where in a YAML text one is typing. */
export interface Place {
  path: Step[];
  key?: string; // the value of this key is being typed, or else a key
  prefix: string; // what of it is typed already
  siblings: Record<string, string>; // the other keys of the same mapping, with what stands behind them
}

const LINE = /^( *)((?:- +)*(?:-$)?)([\w$.-]*)(: *|:$)?(.*)$/;

/** Reads block style, line by line upwards by indentation; flow style ({…}) has no places. */
export function placeOf(text: string, at: number): Place | null {
  const before = text.slice(0, at).split('\n');
  const here = LINE.exec(before.pop() ?? '');
  if (!here || /[{[]/.test(here[5] ?? '')) return null;
  const [, indent = '', dashes = '', word = '', colon, rest = ''] = here;
  if (!colon && rest) return null;
  const path: Step[] = [];
  const siblings: Record<string, string> = {};
  let mapping = siblings; // the keys of the mapping that we are in
  let column = indent.length; // where it stands, or the dash of the item that it is
  let item = false;
  const note = (line: RegExpExecArray) => {
    if (line[3] && line[4]) mapping[line[3]] = (line[5] ?? '').trim();
  };
  /** The mapping that is an item of a list ends at its dash. */
  const enterItem = (edge: number) => {
    path.unshift({ key: '[]', beside: {} });
    column = edge;
    item = true;
  };
  if (dashes) enterItem(indent.length);
  for (const raw of before.reverse()) {
    const line = LINE.exec(raw);
    if (!line || !raw.trim() || raw.trimStart().startsWith('#')) continue;
    const edge = line[1]?.length ?? 0;
    const content = edge + (line[2]?.length ?? 0);
    if (!item && content === column) {
      note(line);
      if (line[2]) enterItem(edge);
    } else if (content < column || (item && content === column && !line[2])) {
      if (!line[3] || !line[4]) return null;
      mapping = {};
      path.unshift({ key: line[3], beside: mapping });
      column = content;
      item = false;
      if (line[2]) enterItem(edge);
    }
  }
  // What follows in the same mapping counts as well.
  const deep = indent.length + dashes.length;
  for (const raw of text.slice(at).split('\n').slice(1)) {
    if (!raw.trim()) continue;
    const line = LINE.exec(raw);
    const edge = line?.[1]?.length ?? 0;
    if (!line || edge < deep || (edge === deep && line[2])) break;
    if (edge === deep && line[3] && line[4]) siblings[line[3]] = (line[5] ?? '').trim();
  }
  return colon ? { path, key: word, prefix: rest, siblings } : { path, prefix: word, siblings };
}
