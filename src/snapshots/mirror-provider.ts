import os from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { FsbackupError } from '../errors.js';
import { readMirror, type Mirror, type MirrorImage } from '../system/lvm-mirror.js';
import { describeFailure, runCommand } from '../system/run-command.js';
import { unmount } from '../system/mount.js';
import type { Argv } from './command-line.js';
import { exposeDevice } from './expose-device.js';
import { QUIET } from './lvm-commands.js';
import type {
  CreateOptions,
  Detection,
  Exposure,
  FilesystemFacts,
  SnapshotProvider,
  SnapshotRef,
  SnapshotRequest,
} from './provider.js';
import { SnapshotTool } from './snapshot-tool.js';
import { faultPoint } from '../system/fault-point.js';

const SPLIT_TIMEOUT_MS = 120_000;
const MERGE_TIMEOUT_MS = 300_000;
const RESYNC_POLL_MS = 1000;
/** Only what changed while it was split is written again: an hour is a disk that does not answer. */
const RESYNC_TIMEOUT_MS = 60 * 60 * 1000;

/** The first kernel on which a merge was seen to resync what changed. */
const FIRST_KERNEL = [6, 12] as const;

/**
 * Whether this kernel writes what changed to a half that is merged back. Measured: 6.12.107 and 7.3.4 do; 6.1 takes the
 * half for current, so that the mirror returns old data from it, and says nothing.
 */
export function mergesRightly(release: string): boolean {
  const [major = 0, minor = 0] = release.split('.').map((part) => Number.parseInt(part, 10));
  return major > FIRST_KERNEL[0] || (major === FIRST_KERNEL[0] && minor >= FIRST_KERNEL[1]);
}

interface Names {
  vg: string;
  lv: string;
  image: string;
}

/** What splits the half of a ref that `prepare` made off, while the filesystem is frozen. */
export function splitCommand(ref: SnapshotRef): Argv {
  const { vg, lv } = namesOf(ref);
  const physicalVolumes = JSON.parse(ref.data['physicalVolumes'] ?? '[]') as string[];
  const split = ['--splitmirrors', '1', '--trackchanges', '--', `${vg}/${lv}`, ...physicalVolumes];
  return ['lvconvert', '--yes', '--config', QUIET, ...split];
}

/** What merges it back. */
export function mergeCommand(ref: SnapshotRef): Argv {
  const { vg, image } = namesOf(ref);
  return ['lvconvert', '--yes', '--config', QUIET, '--merge', '--', `${vg}/${image}`];
}

function namesOf(ref: SnapshotRef): Names {
  const { vg, lv, image } = ref.data;
  if (vg === undefined || lv === undefined || image === undefined) {
    throw new Error(`the snapshot ${ref.name} has no volume in its data`);
  }
  return { vg, lv, image };
}

function refuse(message: string, hint: string): FsbackupError {
  return new FsbackupError('snapshotFailed', message, { hint });
}

/** The image to split: the last, since the first is where LVM reads. Throws `snapshotFailed` with the way out. */
function imageToSplit(mirror: Mirror | undefined, name: string): MirrorImage {
  if (mirror === undefined || !mirror.isRaid1) {
    throw refuse(`${name} is not a raid1 volume`, 'Set `snapshot: auto` for it; see `lvs -a`.');
  }
  const split = mirror.images.find(({ isSplit }) => isSplit);
  if (split !== undefined) {
    throw refuse(
      `The mirror ${name} is split already: ${mirror.vg}/${split.lv} is tracked`,
      `Merge it when nobody needs it: lvconvert --merge ${mirror.vg}/${split.lv}; \`fsbackup recover\` merges fsbackup's own.`,
    );
  }
  const { syncPercent, syncAction, health } = mirror;
  if (syncPercent !== 100 || health !== '' || (syncAction !== 'idle' && syncAction !== '')) {
    const state = health === '' ? `${syncPercent ?? 0} % in sync, ${syncAction}` : health;
    throw refuse(
      `The mirror ${name} is not whole: ${state}`,
      `Wait until \`lvs -o sync_percent ${name}\` says 100.00 and retry; repair it first if a disk failed (lvconvert --repair).`,
    );
  }
  const image = mirror.images.at(-1);
  if (image === undefined || mirror.images.length < 2) {
    throw refuse(`The mirror ${name} has only one half`, `Add another: lvconvert -m 1 ${name}`);
  }
  return image;
}

/**
 * Splits one image off a raid1 volume while the filesystem is frozen and merges it back afterwards: "separate the
 * replication volume" of the 2008 four steps. LVM writes on to the other images and tracks what changes, so that the
 * merge copies that alone. Until then the volume has one copy less.
 *
 * LVM suspends the volume for the split without freezing the filesystem on it (measured: an ext4 image split unfrozen
 * has `needs_recovery`), so our freeze is held around it, which every kernel allows.
 */
export class MirrorProvider implements SnapshotProvider {
  readonly name = 'mirror';
  readonly #tool = new SnapshotTool();
  readonly #release: string;

  constructor(release = os.release()) {
    this.#release = release;
  }

  detect({ mount, lvm, below = [] }: FilesystemFacts): Detection {
    if (lvm === undefined) return { suits: false, reason: 'it lies on no logical volume' };
    const name = `${lvm.vg}/${lvm.lv}`;
    if (!lvm.layout.includes('raid1')) return { suits: false, reason: `${name} is not a raid1 volume` };
    if (!mergesRightly(this.#release)) {
      return {
        suits: false,
        reason: `Linux ${this.#release} does not resync what changed when half of ${name} is merged back, which would damage it; ${FIRST_KERNEL.join('.')} does`,
      };
    }
    if (lvm.above.length > 0) {
      return { suits: false, reason: `between it and ${name} there is another device, which hides the half` };
    }
    if (mount.fstype === 'btrfs') {
      return {
        suits: false,
        reason: 'half of a mirror has the UUID of the other half, which btrfs mixes up',
      };
    }
    return {
      suits: true,
      freezeModes: ['explicit'],
      reason: `half of the mirror ${name} is split off, for which LVM does not freeze by itself`,
      // To split it, LVM writes its metadata to the disks.
      writesTo: below,
    };
  }

  async prepare(requests: readonly SnapshotRequest[]): Promise<SnapshotRef[]> {
    const refs: SnapshotRef[] = [];
    for (const { filesystem, name } of requests) {
      const { mount, lvm } = filesystem;
      if (lvm === undefined) throw new Error(`${mount.mountpoint} lies on no logical volume`);
      const { vg, lv } = lvm;
      const image = imageToSplit(await readMirror(vg, lv), `${vg}/${lv}`);
      refs.push({
        provider: this.name,
        name,
        mountpoint: mount.mountpoint,
        fstype: mount.fstype,
        takenFrozen: true,
        data: {
          vg,
          lv,
          image: image.lv,
          // By its disks: which image LVM takes otherwise is LVM's to choose, and could not be journalled before.
          physicalVolumes: JSON.stringify(image.physicalVolumes),
          root: mount.root,
        },
      });
    }
    return refs;
  }

  async create(refs: readonly SnapshotRef[], options: CreateOptions): Promise<void> {
    const results = await Promise.allSettled(refs.map((ref) => this.#split(ref, options)));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  async #split(ref: SnapshotRef, options: CreateOptions): Promise<void> {
    await this.#tool.make(ref.name, splitCommand(ref), { ...options, timeoutMs: SPLIT_TIMEOUT_MS });
    faultPoint('mirror.split');
  }

  async #isSplit({ vg, lv, image }: Names): Promise<boolean> {
    const mirror = await readMirror(vg, lv);
    return mirror?.images.some((one) => one.lv === image && one.isSplit) === true;
  }

  async exists(ref: SnapshotRef): Promise<boolean> {
    return await this.#isSplit(namesOf(ref));
  }

  /** Somebody may merge it, or its disk may fail: what is read then is not what was split. */
  async checkIntact(ref: SnapshotRef): Promise<void> {
    const names = namesOf(ref);
    if (await this.#isSplit(names)) return;
    throw new FsbackupError(
      'snapshotInvalid',
      `${names.vg}/${names.image} is no longer split off the mirror ${names.vg}/${names.lv}`,
      { hint: 'See who merged it, or whether its disk failed: lvs -a. Then run the job again.' },
    );
  }

  async expose(ref: SnapshotRef, directory: string): Promise<Exposure> {
    const { vg, image } = namesOf(ref);
    if (!(await this.exists(ref))) {
      throw refuse(`The split half ${vg}/${image} does not exist`, 'Run the job again.');
    }
    const device = `/dev/${vg}/${image}`;
    // LVM calls it read-only and leaves its device writable (measured): a replayed journal would be written to it, and
    // the merge, which copies only what changed on the other side, would leave the halves different.
    const sealed = await runCommand(['blockdev', '--setro', device], { timeoutMs: SPLIT_TIMEOUT_MS });
    if (sealed.exitCode !== 0) {
      throw refuse(
        `The split half ${device} cannot be made read-only: ${describeFailure('blockdev', sealed)}`,
        'See `lvs -a` and `dmesg` for what became of it.',
      );
    }
    await exposeDevice({ device, directory, fstype: ref.fstype, root: ref.data['root'] ?? '/', clean: true });
    faultPoint('mirror.mounted');
    return { snapshot: ref, path: directory };
  }

  async unexpose(exposure: Exposure): Promise<void> {
    await unmount(exposure.path);
    faultPoint('mirror.unmounted');
  }

  /** Merges the half back, and waits until the volume has all its copies again. */
  async remove(ref: SnapshotRef): Promise<void> {
    await this.#tool.settled(ref.name);
    const names = namesOf(ref);
    const { vg, lv, image } = names;
    const half = `${vg}/${image}`;
    if (await this.#isSplit(names)) {
      const merged = await runCommand(mergeCommand(ref), { timeoutMs: MERGE_TIMEOUT_MS });
      if (merged.exitCode !== 0 && (await this.#isSplit(names))) {
        throw new FsbackupError(
          'cleanupIncomplete',
          `The split half ${half} could not be merged back: ${describeFailure('lvconvert', merged)}`,
          { hint: `End what uses it, then run: fsbackup recover` },
        );
      }
    }
    faultPoint('mirror.merged');
    await this.#whole(vg, lv);
  }

  async #whole(vg: string, lv: string): Promise<void> {
    const giveUpAt = performance.now() + RESYNC_TIMEOUT_MS;
    for (;;) {
      const mirror = await readMirror(vg, lv);
      // A volume that was removed meanwhile has nothing to wait for.
      if (mirror === undefined || mirror.syncPercent === undefined) return;
      if (mirror.syncPercent === 100 && mirror.syncAction === 'idle') return;
      if (mirror.health !== '' || performance.now() > giveUpAt) {
        throw new FsbackupError(
          'cleanupIncomplete',
          `The mirror ${vg}/${lv} is not whole again: ${mirror.health || `${mirror.syncPercent} % in sync`}`,
          {
            hint: `See \`lvs -a -o +devices,lv_health_status ${vg}\` and \`dmesg\`; a failed disk is to be replaced.`,
          },
        );
      }
      await sleep(RESYNC_POLL_MS);
    }
  }
}
