import { access, constants } from 'node:fs/promises';
import path from 'node:path';
import { FsbackupError } from '../errors.js';
import { isWithin, mountOfPath, readMounts, type Mount } from '../system/mountinfo.js';
import { visibleMounts } from '../system/submounts.js';
import { describeFailure, runCommand } from '../system/run-command.js';
import { isSubvolumeRoot } from '../system/subvolume.js';
import { shellWord } from '../system/command-line.js';

/** The subvolume to snapshot for a mount, and where its snapshots can be kept. */
export interface LocatedSubvolume {
  /** The path of its root directory. */
  subvolume: string;
  /** What the mount shows of it: a relative path, empty for all of it. */
  inside: string;
  /** A writable mount of the same btrfs. */
  storage: Mount;
}

const ASK_TIMEOUT_MS = 60_000;

function refuse(mount: Mount, why: string, hint: string): FsbackupError {
  return new FsbackupError('snapshotFailed', `${mount.mountpoint} cannot be snapshotted: ${why}`, { hint });
}

/** EROFS is the answer for a read-only mount and for a read-only subvolume alike. */
async function isWritable(directory: string): Promise<boolean> {
  return await access(directory, constants.W_OK).then(
    () => true,
    () => false,
  );
}

/** What `btrfs inspect-internal` answers, but for the newline at its end. Rejects with `snapshotFailed`. */
async function inspect(mount: Mount, ...question: string[]): Promise<string> {
  const result = await runCommand(['btrfs', 'inspect-internal', ...question], { timeoutMs: ASK_TIMEOUT_MS });
  if (result.exitCode === 0) return result.stdout.replace(/\n$/, '');
  throw refuse(
    mount,
    `its subvolume cannot be told: ${describeFailure('btrfs', result)}`,
    'Install btrfs-progs and run fsbackup as root.',
  );
}

/**
 * The path of the subvolume that holds what `mount` shows, from the top level of its btrfs, as `mount.root` is: asked by its
 * id, so that no other can be taken for it. Rejects with `snapshotFailed`.
 */
async function subvolumeOf(mount: Mount): Promise<string> {
  const id = await inspect(mount, 'rootid', '--', mount.mountpoint);
  const root = `/${await inspect(mount, 'subvolid-resolve', '--', id, mount.mountpoint)}`;
  if (isWithin(mount.root, root)) return root;
  throw refuse(mount, `it is of the subvolume ${root}, and shows ${mount.root}`, 'Run it again.');
}

/**
 * Finds the subvolume that holds what `mount` shows: a mount of a directory in it (a bind mount) shows a part only,
 * and btrfs snapshots whole subvolumes, by their root directory. Every visible mount of the filesystem is looked at
 * for one that leads to that root, and for one that can be written to. Rejects with `snapshotFailed`.
 */
export async function locateSubvolume(mount: Mount): Promise<LocatedSubvolume> {
  const root = await subvolumeOf(mount);
  const visible = visibleMounts(await readMounts());
  const siblings = visible.filter(({ majorMinor }) => majorMinor === mount.majorMinor);
  // The mount's own first: the snapshot is then kept where one looks for it.
  const own = mountOfPath(visible, mount.mountpoint);
  const candidates = own === undefined ? siblings : [own, ...siblings.filter((other) => other !== own)];

  let subvolume: string | undefined;
  for (const candidate of candidates.filter((one) => isWithin(root, one.root))) {
    const seen = path.join(candidate.mountpoint, path.relative(candidate.root, root));
    if (mountOfPath(visible, seen) === candidate && (await isSubvolumeRoot(seen))) subvolume ??= seen;
  }
  if (subvolume === undefined) {
    throw refuse(
      mount,
      `it shows a part of the subvolume ${root}, which is mounted nowhere as a whole`,
      `Mount the subvolume: mount -o ${shellWord(`subvol=${root}`)} ${shellWord(mount.source)} DIRECTORY`,
    );
  }
  for (const storage of candidates) {
    if (storage.majorMinor === mount.majorMinor && (await isWritable(storage.mountpoint))) {
      return { subvolume, inside: path.relative(root, mount.root), storage };
    }
  }
  throw refuse(
    mount,
    'no mount of its btrfs is writable, and a snapshot must be kept on it',
    `Mount it writable: mount -o remount,rw ${shellWord(mount.mountpoint)}`,
  );
}
