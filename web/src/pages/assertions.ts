import type { Schemas } from '../api/client';

export type Assertion = Schemas['Assertion'];

/** How values are compared, in words; those without a value need none. */
export const OPERATORS: Record<string, { words: string; value: boolean }> = {
  equals: { words: 'equals', value: true },
  notEquals: { words: 'does not equal', value: true },
  lessThan: { words: 'is less than', value: true },
  lessThanOrEqual: { words: 'is at most', value: true },
  greaterThan: { words: 'is greater than', value: true },
  greaterThanOrEqual: { words: 'is at least', value: true },
  contains: { words: 'contains', value: true },
  startsWith: { words: 'starts with', value: true },
  endsWith: { words: 'ends with', value: true },
  matches: { words: 'matches the pattern', value: true },
  isTrue: { words: 'is true', value: false },
  isFalse: { words: 'is false', value: false },
  isEmpty: { words: 'is empty', value: false },
  isNotEmpty: { words: 'is not empty', value: false },
  exists: { words: 'exists', value: false },
  notExists: { words: 'does not exist', value: false },
  includes: { words: 'has as a member', value: true },
  notIncludes: { words: 'has not as a member', value: true },
  lengthEquals: { words: 'has the length', value: true },
  lengthGreaterThan: { words: 'is longer than', value: true },
  lengthLessThan: { words: 'is shorter than', value: true },
};

/** A value as it is typed: numbers, truth values and JSON as such, everything else a text. */
export function typedOf(text: string): unknown {
  if (text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** The text of a value; one that would be read as something else stands in quotes. */
export function textOf(value: unknown): string {
  if (value === undefined || value === null) return '';
  if (typeof value !== 'string') return JSON.stringify(value);
  return typedOf(value) === value ? value : JSON.stringify(value);
}

/** A value that a run found, and the assertion that expects such a one. */
export interface Choice {
  field: string;
  jsonPath?: string;
  value: unknown;
  suggestion: Assertion;
}

const MOST_CHOICES = 60;

/** What a collector found, as what one can assert; texts that are JSON are opened. */
export function choicesOf(found: Record<string, unknown>): Choice[] {
  const choices: Choice[] = [];
  for (const [field, value] of Object.entries(found)) {
    if (field.startsWith('_') || field === 'traceId' || value === null) continue; // each run has another trace
    const inner = typeof value === 'string' && /^\s*[[{]/.test(value) ? parsed(value) : value;
    if (typeof inner !== 'object' || inner === null) {
      choices.push({ field, value, suggestion: { field, ...expected(field, value) } });
      continue;
    }
    for (const [jsonPath, leaf] of leavesOf(inner, '$', 6)) {
      choices.push({ field, jsonPath, value: leaf, suggestion: { field, jsonPath, ...expected(jsonPath, leaf) } });
    }
  }
  return choices.slice(0, MOST_CHOICES);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function* leavesOf(value: unknown, path: string, depth: number): Generator<[string, unknown]> {
  if (typeof value !== 'object' || value === null) {
    if (value !== null) yield [path, value];
    return;
  }
  if (depth === 0) return;
  const step = (key: string) => (/^[A-Za-z_]\w*$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`);
  if (Array.isArray(value)) {
    for (const [i, one] of value.slice(0, 5).entries()) yield* leavesOf(one, `${path}[${i}]`, depth - 1);
    return;
  }
  for (const [key, one] of Object.entries(value)) yield* leavesOf(one, path + step(key), depth - 1);
}

/** What one would expect of a value like this: a time with room above, anything else as it is. */
function expected(name: string, value: unknown): Pick<Assertion, 'operator' | 'value'> {
  if (typeof value === 'boolean') return { operator: value ? 'isTrue' : 'isFalse' };
  if (typeof value === 'number' && /ms$/i.test(name)) return { operator: 'lessThan', value: roomy(value) };
  if (typeof value === 'string' && value.length > 80) return { operator: 'contains', value: value.slice(0, 40) };
  if (Array.isArray(value) || typeof value === 'object') return { operator: 'isNotEmpty' };
  return { operator: 'equals', value };
}

/** The first of 1, 2, 5, 10, … that is at least three times as much. */
function roomy(ms: number): number {
  for (let unit = 1; ; unit *= 10) for (const n of [1, 2, 5]) if (n * unit >= ms * 3) return n * unit;
}
