import { expect, test } from 'vitest';
import type { Schemas } from '../api/client';
import { loosened } from './sandbox-loosened';

const strict: Schemas['Policy'] = {
  enabled: true,
  onUnavailable: 'fail',
  resources: { cpuSeconds: 60, memoryBytes: 1 << 20 },
  filesystem: { mode: 'scratch-only' },
  network: { mode: 'allowlist', allow: ['example.org'], denyLinkLocalAndMetadata: true },
  privilege: { mode: 'drop-to-uid' },
};
const loose: Schemas['Policy'] = {
  enabled: true,
  onUnavailable: 'degrade',
  resources: { cpuSeconds: 90 },
  filesystem: { mode: 'off' },
  network: { mode: 'unrestricted', denyLinkLocalAndMetadata: false },
  privilege: { mode: 'inherit' },
};

test('what a policy allows more than another is told, and nothing else', () => {
  expect(loosened(strict, strict)).toEqual([]);
  expect(loosened(loose, strict)).toEqual([]);
  expect(loosened(strict, loose)).toEqual([
    'Where the sandbox cannot be made, scripts run without it.',
    'Scripts may reach more of the network.',
    'Scripts may reach link-local addresses, and so the credentials that clouds keep there.',
    'Scripts may see more files.',
    'Scripts run as the user of the satellite, which may be root.',
    'Scripts have no limit any more of: memory.',
  ]);
});

test('without a sandbox there is one thing to say, and only once', () => {
  expect(loosened(strict, { ...loose, enabled: false })).toEqual([
    'Scripts may do on every satellite what its user can.',
  ]);
  expect(loosened({ ...strict, enabled: false }, { ...loose, enabled: false })).toEqual([]);
});
