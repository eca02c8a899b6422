import type { Schemas } from '../api/client';

type Policy = Schemas['Policy'];

// From the strictest to the loosest.
const NETWORKS = ['deny', 'allowlist', 'unrestricted'];
const FILES = ['scratch-only', 'scratch-plus-ro', 'off'];

const LIMITS: Record<string, string> = {
  cpuSeconds: 'processor time',
  memoryBytes: 'memory',
  maxProcesses: 'processes',
  maxOpenFiles: 'open files',
  maxOutputBytes: 'output',
  maxFileSizeBytes: 'size of a file',
};

/** What another policy would allow scripts that this one does not, in words. */
export function loosened(from: Policy, to: Policy): string[] {
  const said: string[] = [];
  const say = (when: boolean, words: string) => {
    if (when) said.push(words);
  };
  if (!to.enabled) {
    say(from.enabled, 'Scripts may do on every satellite what its user can.');
    return said;
  }
  const wider = (order: string[], was: string, is: string) => from.enabled && order.indexOf(is) > order.indexOf(was);
  say(
    from.onUnavailable === 'fail' && to.onUnavailable === 'degrade',
    'Where the sandbox cannot be made, scripts run without it.',
  );
  say(wider(NETWORKS, from.network.mode, to.network.mode), 'Scripts may reach more of the network.');
  say(
    from.network.denyLinkLocalAndMetadata && !to.network.denyLinkLocalAndMetadata,
    'Scripts may reach link-local addresses, and so the credentials that clouds keep there.',
  );
  say(wider(FILES, from.filesystem.mode, to.filesystem.mode), 'Scripts may see more files.');
  say(
    from.privilege.mode === 'drop-to-uid' && to.privilege.mode === 'inherit',
    'Scripts run as the user of the satellite, which may be root.',
  );
  const was = from.resources as Record<string, number | undefined>;
  const is = to.resources as Record<string, number | undefined>;
  const lifted = Object.keys(was).filter((name) => was[name] !== undefined && is[name] === undefined);
  say(
    lifted.length > 0,
    `Scripts have no limit any more of: ${lifted.map((name) => LIMITS[name] ?? name).join(', ')}.`,
  );
  return said;
}
