import { mkdtempSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { mkdir, open, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf } from '../../src/errors.js';
import { isWithin, readMounts, type Mount } from '../../src/system/mountinfo.js';
import { describeFailure, runCommand } from '../../src/system/run-command.js';

export type ThrowawayType = 'ext4' | 'xfs' | 'btrfs';

/** Sparse sizes: mkfs.xfs refuses less than 300 MiB, mkfs.btrfs less than 109 MiB. */
const DEFAULT_SIZE_MIB = { ext4: 96, xfs: 512, btrfs: 512 } as const;
const MKFS: Readonly<Record<ThrowawayType, [string, ...string[]]>> = {
  ext4: ['mkfs.ext4', '-q', '-F'],
  xfs: ['mkfs.xfs', '-q', '-f', '-m', 'reflink=1'],
  btrfs: ['mkfs.btrfs', '-q', '-f'],
};

export interface ThrowawayOptions {
  fstype: ThrowawayType;
  sizeMiB?: number;
  /** Where the image file lies: another throwaway filesystem ("stacked"), or the throwaway directory itself. */
  on?: ThrowawayFilesystem;
  /** Names image and mountpoint; made up when left out. */
  name?: string;
  mountOptions?: readonly string[];
  /** Arguments for mkfs, e.g. `['-O', '^has_journal']`. */
  mkfsArguments?: readonly string[];
}

/** A filesystem in an image file on a loop device, mounted read-write. */
export interface ThrowawayFilesystem {
  fstype: ThrowawayType;
  mountpoint: string;
  image: string;
  /** `/dev/loopN` */
  device: string;
  /** From mountinfo; for btrfs an anonymous device number, not the loop device's. */
  majorMinor: string;
}

/** What is still mounted or attached. */
export interface Held {
  mountpoints: string[];
  loopDevices: string[];
}

/** A bound against hanging for ever: an emulated guest on a busy machine is hundreds of times slower than a quiet host. */
const LIMIT_MS = 280_000;
/** In which a loop device that goes by itself goes, also on a busy machine. */
const GONE_MS = 10_000;

/** Runs a program and throws unless it exits 0; returns what it wrote to stdout, trimmed. */
export async function must(...argv: [string, ...string[]]): Promise<string> {
  const result = await runCommand(argv, { timeoutMs: LIMIT_MS });
  if (result.exitCode !== 0) throw new Error(describeFailure(argv.join(' '), result));
  return result.stdout.trim();
}

/** Runs a program that may hang in D state, where no signal ends it: after 15 s nobody waits for it any more. */
async function attempt(...argv: [string, ...string[]]): Promise<boolean> {
  const abandoned = sleep(15_000, false, { ref: false });
  const finished = runCommand(argv, { timeoutMs: 10_000 }).then((result) => result.exitCode === 0);
  return await Promise.race([finished, abandoned]);
}

/** An attribute of a loop device; undefined where it has none: nothing is attached to it, or not any more. */
function loopAttribute(device: string, attribute: string): string | undefined {
  try {
    return readFileSync(`/sys/block/${path.basename(device)}/loop/${attribute}`, 'utf8');
  } catch (error) {
    // ENODEV: it is detached while this reads.
    if (['ENOENT', 'ENODEV', 'ENXIO'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
}

/** The loop devices whose image lies below `directory`, deleted images included. */
export function loopDevicesBelow(directory: string): string[] {
  return (
    readdirSync('/sys/block')
      .filter((name) => name.startsWith('loop'))
      .map((name) => `/dev/${name}`)
      // The kernel names the image from the root of the filesystem that it lies on where no mount of it is left.
      .filter((device) => loopAttribute(device, 'backing_file')?.includes(path.basename(directory)))
  );
}

/** Whether the kernel detaches it as soon as nobody has it open: whoever looks at all of them has for an instant. */
function goesByItself(device: string): boolean {
  return loopAttribute(device, 'autoclear')?.trim() !== '0';
}

/**
 * A temporary directory with image files, loop devices and mounts in it; all of it, and whatever else was mounted
 * below the directory or attached from it, is undone by `dispose`, frozen or not.
 */
export class ThrowawayDisks {
  #directory: string | undefined;
  #count = 0;
  readonly #made = new Set<string>();

  /** The directory, a symlink-free path; made when first asked for. */
  get directory(): string {
    this.#directory ??= mkdtempSync(path.join(realpathSync(os.tmpdir()), 'throwaway-'));
    return this.#directory;
  }

  /** Makes and mounts a filesystem. */
  async filesystem(options: ThrowawayOptions): Promise<ThrowawayFilesystem> {
    const { fstype } = options;
    this.#count += 1;
    const name = options.name ?? `${fstype}-${this.#count}`;
    const image = path.join(options.on?.mountpoint ?? this.directory, `${name}.img`);
    const mountpoint = path.join(this.directory, `${name}.mnt`);

    const file = await open(image, 'wx', 0o600);
    await file.truncate((options.sizeMiB ?? DEFAULT_SIZE_MIB[fstype]) * 1024 * 1024);
    await file.close();
    await must(...MKFS[fstype], ...(options.mkfsArguments ?? []), image);
    const device = await must('losetup', '--find', '--show', image);
    this.#made.add(device);
    await mkdir(mountpoint);
    await must('mount', '-o', (options.mountOptions ?? ['rw']).join(','), device, mountpoint);
    this.#made.add(mountpoint);

    const mount = (await readMounts()).findLast((candidate) => candidate.mountpoint === mountpoint);
    if (mount === undefined) throw new Error(`${mountpoint} was mounted and is not in mountinfo`);
    return { fstype, mountpoint, image, device, majorMinor: mount.majorMinor };
  }

  async #mounts(): Promise<Mount[]> {
    return (await readMounts()).filter((mount) => isWithin(mount.mountpoint, this.directory));
  }

  /** What is mounted or attached here at this instant and was not made by `filesystem`. */
  async unmade(): Promise<Held> {
    const isUnmade = (name: string): boolean => !this.#made.has(name);
    return {
      mountpoints: (await this.#mounts()).map((mount) => mount.mountpoint).filter(isUnmade),
      loopDevices: loopDevicesBelow(this.directory).filter(isUnmade),
    };
  }

  /** What the code under test left behind: as `unmade`, but loop devices that go by themselves have some time for it. */
  async leftovers(): Promise<Held> {
    for (const giveUpAt = performance.now() + GONE_MS; ; await sleep(50)) {
      const held = await this.unmade();
      const isOver = held.mountpoints.length > 0 || !held.loopDevices.every(goesByItself);
      if (isOver || held.loopDevices.length === 0 || performance.now() > giveUpAt) return held;
    }
  }

  /** Thaws, unmounts, detaches and removes everything. Rejects, naming it, when something cannot be undone. Idempotent. */
  async dispose(): Promise<void> {
    if (this.#directory === undefined) return;
    // Several rounds: a child that is on its way out keeps a mount busy, a freeze in flight cannot be thawed yet.
    for (let round = 0; round < 40; round += 1) {
      const mounts = await this.#mounts();
      if (mounts.length === 0 && loopDevicesBelow(this.directory).length === 0) break;
      // Mount order is bottom-up: thawing the upper of a stack whose lower is frozen blocks.
      for (const mount of mounts) await attempt('fsfreeze', '--unfreeze', mount.mountpoint);
      for (const mount of mounts.toReversed()) await attempt('umount', mount.mountpoint);
      // Listed anew: the umount freed those with autoclear, and another process may have them by now.
      for (const device of loopDevicesBelow(this.directory)) await attempt('losetup', '--detach', device);
      await sleep(round * 50);
    }
    const mounts = await this.#mounts();
    const devices = loopDevicesBelow(this.directory);
    if (mounts.length > 0 || devices.length > 0) {
      const held = [...mounts.map((mount) => mount.mountpoint), ...devices].join(', ');
      throw new Error(`The throwaway directory ${this.directory} cannot be undone; still held: ${held}`);
    }
    await rm(this.directory, { recursive: true, force: true });
    this.#directory = undefined;
    this.#made.clear();
  }
}

/**
 * Throwaway disks that vitest disposes of, also after a failure: `throwawayDisks(afterAll)` in a `describe`,
 * `throwawayDisks(onTestFinished)` in a test. Nothing is made before it is first used.
 */
export function throwawayDisks(onEnd: (dispose: () => Promise<void>) => void): ThrowawayDisks {
  const disks = new ThrowawayDisks();
  onEnd(() => disks.dispose());
  return disks;
}
