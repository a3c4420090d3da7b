/**
 * What a guest's kernel does when a device that is frozen through FIFREEZE is suspended by device-mapper, as
 * `lvcreate -s` does: it refuses (EBUSY), it succeeds but leaks a freeze so that the origin can never be mounted
 * again, or it nests the two rightly.
 */
export type KernelBehaviour = 'refuses' | 'leaks' | 'nests';

/** A guest of the lab. Another one is another entry of `GUESTS`. */
export interface Guest {
  name: string;
  /** The codename of its Debian release. */
  release: string;
  /** Which kernels of that release and its backports may be taken: a pattern over upstream versions, `6.12.107`. */
  kernelVersions: RegExp;
  /** What it is there for. Of the kernels that match, the newest that is known to behave so is taken. */
  behaviour: KernelBehaviour;
  /** With OpenZFS, built for its kernel. */
  zfs: boolean;
  /** Debian packages beyond those of every guest. */
  packages: readonly string[];
  /** What process 1 is: a script of the lab's, or systemd, which runs the job as a unit. */
  init: 'script' | 'systemd';
  /** What is run in it unless tests are named: of `test/lab`, what this guest is there for. */
  tests: readonly string[];
  /** Of these, what every run of continuous integration does: each provider works on each kernel, and what attacks it. */
  core: readonly string[];
}

const ALL_TESTS = ['test/lab'] as const;
const SYSTEMD_TESTS = ['test/lab/systemd'] as const;
const CORE_TESTS = ['lab', 'lvm-provider', 'mirror-run', 'zfs-contract', 'campaign'].map(
  (name) => `test/lab/${name}.test.ts`,
);

/** What the tests, LVM and the programs of the command line need in every guest. */
export const COMMON_PACKAGES = [
  'acl',
  'attr',
  'bash',
  'btrfs-progs',
  'coreutils',
  'cryptsetup-bin',
  'dmsetup',
  'e2fsprogs',
  'fdisk',
  'findutils',
  'fio',
  'gawk',
  'kmod',
  'libcap2-bin',
  'libstdc++6',
  'lvm2',
  'mount',
  'procps',
  'psmisc',
  'rsync',
  'sqlite3',
  'strace',
  'tar',
  'thin-provisioning-tools',
  'udev',
  'util-linux',
  'xfsprogs',
  'zstd',
] as const;

export const GUESTS: readonly Guest[] = [
  {
    name: '6.1',
    release: 'bookworm',
    kernelVersions: /^6\.1\./,
    behaviour: 'refuses',
    zfs: false,
    packages: [],
    init: 'script',
    tests: ALL_TESTS,
    core: CORE_TESTS,
  },
  {
    name: '6.12-zfs',
    release: 'trixie',
    kernelVersions: /^6\.12\./,
    behaviour: 'leaks',
    zfs: true,
    packages: ['openssh-client', 'openssh-server', 'zfsutils-linux'],
    init: 'script',
    tests: ALL_TESTS,
    core: CORE_TESTS,
  },
  {
    name: '7-backports',
    release: 'trixie',
    kernelVersions: /^7\./,
    behaviour: 'nests',
    zfs: false,
    packages: [],
    init: 'script',
    tests: ALL_TESTS,
    core: CORE_TESTS,
  },
  {
    name: 'systemd',
    release: 'trixie',
    kernelVersions: /^7\./,
    behaviour: 'nests',
    zfs: false,
    packages: ['dbus', 'restic', 'systemd', 'systemd-sysv'],
    init: 'systemd',
    tests: SYSTEMD_TESTS,
    core: SYSTEMD_TESTS,
  },
];

/** The guest of that name, or the only one whose name starts so. Throws, naming them all, when there is none. */
export function findGuest(name: string): Guest {
  const exact = GUESTS.find((guest) => guest.name === name);
  if (exact !== undefined) return exact;
  const [found, ...others] = GUESTS.filter((guest) => guest.name.startsWith(name));
  if (found !== undefined && others.length === 0) return found;
  throw new Error(`There is no guest "${name}"; there are ${GUESTS.map((guest) => guest.name).join(', ')}.`);
}
