const start = 'watchdog-start';
const survival = 'watchdog-survival';
const duties = 'watchdog-duties';
const protocol = 'watchdog-protocol';
const devices = 'watchdog-devices';
const addon = 'native-addon';
const freezer = 'guarded-freezer';
const inFlight = 'freeze-in-flight';

/** Of each source file in native, the tests in test/integration that try what it does: the likeliest to find out first. */
const TESTS: Readonly<Record<string, readonly string[]>> = {
  'addon-btrfs.c': ['btrfs-subvolume', 'btrfs-provider'],
  'addon-devices.c': [addon, devices],
  'addon-loop.c': [addon],
  'addon-page.c': [addon, freezer, duties, inFlight, 'thaw-orphaned', 'thaw-guardless'],
  'addon-tasks.c': [addon, freezer],
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
  'start.c': [start, protocol, duties, survival, devices],
  'survive.c': [start, survival, protocol, duties],
  'threads.c': [start, duties, survival],
  'watch.c': [devices],
  'watchdog.c': [protocol, duties, devices, survival],
  'workers.c': [duties, protocol, devices, freezer, inFlight],
};

export const SOURCES = Object.keys(TESTS);

/** Files of tests, as vitest takes them. */
export function testsOf(source: string): string[] {
  return (TESTS[source] ?? []).map((name) => `test/integration/${name}.test.ts`);
}
