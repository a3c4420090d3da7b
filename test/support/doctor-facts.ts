import type { HostState } from '../../src/doctor/facts.js';

/** Every capability there is. */
export const ALL_CAPABILITIES = (1n << 41n) - 1n;

/** A host on which all is well. */
export function aHost(overrides: Partial<HostState> = {}): HostState {
  const directory = { isWritable: true, isPrivate: true };
  return {
    capabilities: ALL_CAPABILITIES,
    isRoot: true,
    initialPidNamespace: true,
    guards: { armed: true, warnings: [] },
    kernelRelease: '6.12.117',
    nestedFreeze: { behaviour: 'nests' },
    hungTaskTimeoutMs: 120_000,
    hungTaskPanics: false,
    canExpedite: true,
    hasLoop: true,
    hasLvm: false,
    runDirectory: { path: '/run/fsbackup', existing: '/run/fsbackup', fstype: 'tmpfs', ...directory },
    stateDirectory: { path: '/var/lib/fsbackup', existing: '/var/lib', fstype: 'ext4', ...directory },
    tools: [],
    leftovers: { suspended: [], frozen: [], journalled: [], unreadable: [], kept: [], problem: undefined },
    ...overrides,
  };
}
