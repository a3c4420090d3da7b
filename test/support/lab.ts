// oxlint-disable vitest/valid-title, vitest/valid-describe-callback -- those rules read test files
import { describe } from 'vitest';
import type { Guest, KernelBehaviour } from '../../lab/guests.js';

/** The guest of the lab that a test runs in. */
export interface LabGuest {
  name: string;
  /** What its kernel does with a device-mapper suspend of a frozen device. */
  kernel: KernelBehaviour;
  zfs: boolean;
  /** What process 1 is. */
  init: Guest['init'];
  /** Whole disks, `/dev/vde`. They are empty, or hold what an earlier test has left: wipe before use, and afterwards. */
  disks: readonly string[];
  /** Every test in every guest that it is for: FSBACKUP_LAB_THOROUGH. */
  thorough: boolean;
}

/** A guest, as a suite sees it. */
export interface LabSuite extends LabGuest {
  /** What of these cases is tried here. Together, the guests that a suite is for try all of them, thorough or not. */
  share<Case>(cases: readonly Case[]): Case[];
}

/** Which guests a suite is for; a property left out is for all. */
export interface LabNeeds {
  kernel?: KernelBehaviour | readonly KernelBehaviour[];
  zfs?: true;
  /** Left out: it makes no difference, and the guest that is there for systemd runs it only when asked to. */
  init?: 'systemd';
  /** Left out of a run that is not thorough. */
  thorough?: true;
  /** Whose kernel hardly matters to it: the guest that it is left to unless the run is thorough. */
  once?: KernelBehaviour;
}

const KERNELS: readonly KernelBehaviour[] = ['refuses', 'leaks', 'nests'];

/** The guest, from the environment that the lab sets. Throws outside the lab. */
export function labGuest(): LabGuest {
  const { env } = process;
  const { FSBACKUP_LAB_GUEST: name, FSBACKUP_LAB_KERNEL: kernel, FSBACKUP_LAB_DISKS: disks } = env;
  if (name === undefined || kernel === undefined || disks === undefined) {
    throw new Error('Tests in test/lab run in a guest: npm run lab -- --guest NAME TEST');
  }
  return {
    name,
    kernel: kernel as KernelBehaviour,
    zfs: env['FSBACKUP_LAB_ZFS'] === '1',
    init: env['FSBACKUP_LAB_INIT'] === 'systemd' ? 'systemd' : 'script',
    disks: disks.split(' '),
    thorough: env['FSBACKUP_LAB_THOROUGH'] === '1',
  };
}

/** The kernels that a suite runs on, in their order. */
function kernelsFor({ kernel = KERNELS, once }: LabNeeds, thorough: boolean): readonly KernelBehaviour[] {
  const wanted = new Set([kernel].flat());
  return KERNELS.filter((one) => wanted.has(one) && (thorough || (once ?? one) === one));
}

/** A `describe` for those guests of the lab that have what it needs. In others it is not there at all, so not skipped. */
export function describeInLab(needs: LabNeeds, name: string, body: (suite: LabSuite) => void): void {
  const guest = labGuest();
  const kernels = kernelsFor(needs, guest.thorough);
  const rank = kernels.indexOf(guest.kernel);
  if (rank === -1 || (needs.zfs === true && !guest.zfs)) return;
  if (needs.thorough === true && !guest.thorough) return;
  if (needs.init !== undefined && needs.init !== guest.init) return;
  // There is one guest with ZFS, and one with systemd.
  const isAlone = guest.thorough || needs.zfs === true || needs.init !== undefined;
  const sharing = isAlone ? 1 : kernels.length;
  const share = <Case>(cases: readonly Case[]): Case[] =>
    cases.filter((_, index) => sharing === 1 || index % sharing === rank);
  describe(name, () => body({ ...guest, share }));
}
