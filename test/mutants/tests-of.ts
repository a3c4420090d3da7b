const start = 'watchdog-start';
const survival = 'watchdog-survival';
const duties = 'watchdog-duties';
const protocol = 'watchdog-protocol';
const devices = 'watchdog-devices';
const addon = 'native-addon';
const freezer = 'guarded-freezer';
const inFlight = 'freeze-in-flight';

/** Of each source file in native, the tests in test/integration that try what it does: the likeliest to find out first. */
const C_TESTS: Readonly<Record<string, readonly string[]>> = {
  'addon-attributes.c': [addon, 'restore-attributes'],
  'addon-btrfs.c': ['btrfs-subvolume', 'btrfs-provider'],
  'addon-devices.c': [addon, devices],
  'addon-loop.c': [addon],
  'addon-cache.c': [addon],
  'addon-page.c': [addon, freezer, duties, inFlight, 'thaw-orphaned', 'thaw-guardless'],
  'addon-tasks.c': ['addon-tasks', addon, freezer],
  'addon.c': [addon, freezer],
  'cgroup.c': ['watchdog-cgroup', protocol, survival, start],
  'clock.c': [addon, freezer],
  'commands.c': [devices, addon],
  'deadlines.c': [duties, protocol, devices, survival],
  'dm.c': [devices, addon],
  'expedite.c': [start, 'expedited-freeze'],
  'frames.c': [protocol, duties, start],
  'in-freeze.c': [inFlight],
  'leftovers.c': ['nested-freeze'],
  'link.c': [duties],
  'measure.c': [addon, freezer],
  'nested-freeze.c': ['nested-freeze'],
  'private-disk.c': ['nested-freeze'],
  'record.c': [duties, freezer, 'thaw-orphaned'],
  'requests.c': [duties, protocol, devices, start, survival, freezer, 'freeze-deadman'],
  'second.c': [duties, protocol, devices, survival],
  'settle.c': [devices],
  'start.c': [start, 'watchdog-cgroup', protocol, duties, survival, devices],
  'survive.c': [start, survival, protocol, duties],
  'threads.c': [start, duties, survival],
  'watch.c': [devices],
  'watchdog.c': [protocol, duties, devices, survival],
  'workers.c': [duties, protocol, devices, freezer, inFlight],
};

/**
 * Of each source file in src, those in test that load it, and those that run the command line, which has to be built for them:
 * both the likeliest, and then the quickest, first.
 */
const TS_TESTS: Readonly<Record<string, { modules?: readonly string[]; commands?: readonly string[] }>> = {
  'freeze/arm-freezer.ts': { modules: ['unit/freeze/arm-freezer', 'integration/guarded-freezer'] },
  'freeze/control-client.ts': {
    modules: ['unit/freeze/control-client'],
  },
  'freeze/dead-freeze.ts': { modules: ['unit/freeze/dead-freeze'] },
  'freeze/describe-frozen.ts': { commands: ['integration/thaw-orphaned'] },
  'freeze/device-watch.ts': { modules: ['unit/freeze/device-watch'] },
  'freeze/early-thaw.ts': { modules: ['unit/freeze/early-thaw'], commands: ['integration/thaw-orphaned'] },
  'freeze/find-held.ts': { modules: ['unit/freeze/find-held'] },
  'freeze/frame-connection.ts': { modules: ['unit/freeze/frame-connection'] },
  'freeze/freeze-around-command.ts': {
    modules: ['unit/freeze/freeze-around-command', 'integration/freeze-by-hand'],
  },
  'freeze/freeze-by-hand.ts': { modules: ['unit/freeze/freeze-by-hand'] },
  'freeze/freeze-errors.ts': { modules: ['unit/freeze/freeze-errors'] },
  'freeze/freeze-id.ts': { commands: ['integration/freeze-identity'] },
  'freeze/freeze-record.ts': { modules: ['unit/freeze/freeze-record', 'unit/freeze/records-of-others'] },
  'freeze/freeze-set.ts': { modules: ['unit/freeze/freeze-set', 'integration/guarded-freezer'] },
  'freeze/freeze-status.ts': { modules: ['unit/freeze/freeze-status'] },
  'freeze/freeze-targets.ts': { modules: ['unit/freeze/freeze-targets'] },
  'freeze/freezer.ts': { modules: [] },
  'freeze/guarded-devices.ts': { modules: ['unit/system/block-stack'] },
  'freeze/guarded-freezer.ts': {
    modules: ['unit/freeze/guarded-freezer', 'integration/guarded-freezer', 'integration/origin-probe'],
  },
  'freeze/guards-page.ts': { modules: ['unit/freeze/guards-page'] },
  'freeze/held-command.ts': { modules: ['unit/freeze/held-command'] },
  'freeze/kill-guards.ts': {
    modules: ['unit/freeze/kill-guards'],
  },
  'freeze/mountpoint.ts': { modules: ['unit/freeze/mountpoint'] },
  'freeze/overdue-freeze.ts': { modules: ['unit/freeze/overdue-freeze'] },
  'freeze/protocol.ts': { modules: ['unit/freeze/protocol'] },
  'freeze/recover-freezes.ts': {
    modules: ['unit/freeze/recover-freezes', 'unit/freeze/overdue-freeze', 'integration/release-by-hand'],
  },
  'freeze/refuse-held.ts': { modules: ['unit/freeze/refuse-held'] },
  'freeze/release-by-hand.ts': { modules: ['unit/freeze/release-by-hand', 'integration/release-by-hand'] },
  'freeze/render-status.ts': { modules: ['unit/freeze/render-status'] },
  'freeze/resume-devices.ts': { modules: ['unit/freeze/resume-devices'] },
  'freeze/slot-verdict.ts': { modules: ['unit/freeze/slot-verdict'] },
  'freeze/sweep-control-sockets.ts': { modules: ['unit/freeze/sweep-control-sockets'] },
  'freeze/thaw-order.ts': { modules: ['unit/freeze/thaw-order'] },
  'freeze/thaw-without-guards.ts': { modules: ['unit/freeze/thaw-without-guards'] },
  'freeze/untold-losses.ts': { modules: ['unit/freeze/untold-losses'] },
  'freeze/watch-blocked.ts': { modules: ['unit/freeze/watch-blocked'] },
  'freeze/watchdog-process.ts': { modules: ['integration/start-watchdog', 'integration/guarded-freezer'] },
  'freeze/within.ts': { modules: ['unit/freeze/within'] },
  'run/window.ts': {
    modules: [
      'unit/run/window',
      'unit/run/device-window',
      'unit/run/execute',
      'unit/docs/generated-sections',
    ],
  },
};

/** The tests of a source file: files as vitest takes them, in the order to try them in. */
export interface Tests {
  /** Those that load what is in src as it stands there. */
  modules: readonly string[];
  /** Those of what is built. */
  built: readonly string[];
}

/** All sources that statements are deleted from, by their paths in the checkout. */
export const SOURCES: readonly string[] = [
  ...Object.keys(C_TESTS).map((name) => `native/${name}`),
  ...Object.keys(TS_TESTS).map((name) => `src/${name}`),
];

const inTest = (names: readonly string[]): string[] => names.map((name) => `test/${name}.test.ts`);

export function testsOf(source: string): Tests {
  const name = source.slice(source.indexOf('/') + 1);
  const { modules = [], commands = [] } = TS_TESTS[name] ?? {};
  const ofC = (C_TESTS[name] ?? []).map((test) => `integration/${test}`);
  return { modules: inTest(modules), built: inTest([...ofC, ...commands]) };
}
