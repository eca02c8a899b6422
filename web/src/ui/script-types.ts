/** A thing that scripts can name: its type, what it is for, and what it has. */
export interface Member {
  type: string;
  info?: string;
  has?: Record<string, Member>;
}

export interface Offers {
  typed: string;
  member: boolean; // behind a dot or in an import, where all is offered at once
  options: { label: string; type: string; detail?: string; info?: string }[];
}

const IMPORT = /(?:\bfrom|\bimport)\s*\(?\s*['"]([^'"]*)$/;
const CHAIN = /(?:^|[^\w$.])((?:[A-Za-z_$][\w$]*\.)*)([A-Za-z_$][\w$]*)?$/;

/** What may follow the text of a line: members of what stands before the dot, names, or packages in an import. */
export function offersOf(line: string, types: Record<string, Member>, packages: string[]): Offers | null {
  const imported = IMPORT.exec(line);
  if (imported) {
    return {
      typed: imported[1] ?? '',
      member: true,
      options: packages.map((label) => ({ label, type: 'namespace', detail: 'package' })),
    };
  }
  const chain = CHAIN.exec(line);
  if (!chain) return null;
  let here: Record<string, Member> | undefined = types;
  for (const name of (chain[1] ?? '').split('.').filter(Boolean)) here = here?.[name]?.has;
  if (!here) return null;
  return {
    typed: chain[2] ?? '',
    member: chain[1] !== '',
    options: Object.entries(here).map(([label, m]) => ({
      label,
      type: m.type.includes('=>') ? 'function' : 'variable',
      detail: m.type,
      info: m.info,
    })),
  };
}

const text = (info?: string): Member => ({ type: 'string', info });
const call = (type: string, info?: string): Member => ({ type, info });

/** What inline scripts find, as docs/scripts.md says. */
export const SCRIPT_TYPES: Record<string, Member> = {
  context: {
    type: 'Context',
    info: 'What the run knows of itself.',
    has: {
      check: {
        type: '{ id, name, intervalSeconds }',
        has: { id: text(), name: text(), intervalSeconds: { type: 'number' } },
      },
      system: {
        type: '{ id, name, metadata }',
        has: {
          id: text(),
          name: text(),
          metadata: { type: 'Record<string, unknown>', info: 'The metadata of the system.' },
        },
      },
      environment: {
        type: '{ id, name, fields } | undefined',
        info: 'Where the check runs in environments.',
        has: { id: text(), name: text(), fields: { type: 'Record<string, unknown>' } },
      },
      config: { type: 'Record<string, unknown>', info: 'The configuration of the strategy.' },
    },
  },
  process: {
    type: '{ env }',
    has: { env: { type: 'Record<string, string>', info: 'PERIGEE_… and the secrets that secretEnv names.' } },
  },
  console: {
    type: 'Console',
    info: 'What is printed is kept with the run.',
    has: { log: call('(...values) => void'), error: call('(...values) => void'), warn: call('(...values) => void') },
  },
  fetch: call(
    '(url: string | URL, init?: RequestInit) => Promise<Response>',
    'By the policy for scripts; 200 requests in a run.',
  ),
  performance: { type: 'Performance', has: { now: call('() => number') } },
  crypto: {
    type: 'Crypto',
    has: {
      randomUUID: call('() => string'),
      getRandomValues: call('(array) => array'),
      subtle: { type: 'SubtleCrypto', info: 'Digests and HMAC.' },
    },
  },
  URL: call('new (url: string, base?: string) => URL'),
  URLSearchParams: call('new (init?) => URLSearchParams'),
  Headers: call('new (init?) => Headers'),
  AbortController: call('new () => AbortController'),
  TextEncoder: call('new () => TextEncoder'),
  TextDecoder: call('new () => TextDecoder'),
  structuredClone: call('(value) => value'),
  setTimeout: call('(callback: () => void, ms: number) => number'),
  atob: call('(text: string) => string'),
  btoa: call('(text: string) => string'),
};
