import path from 'node:path';
import { FsbackupError } from '../errors.js';
import { isWithin, type Mount } from '../system/mountinfo.js';
import { describeFailure, runCommand } from '../system/run-command.js';
import { isSubvolumeRoot } from '../system/subvolume.js';
import { SNAPSHOT_DIRECTORY_NAME } from './private-directory.js';

/** `btrfs subvolume list -a` marks with this the paths that are not below the subvolume it was asked about. */
const TREE_PREFIX = '<FS_TREE>/';

/**
 * Parses the output of `btrfs subvolume list -a`: the paths of all subvolumes of a btrfs, from its top level
 * (`/srv/data`), the top level itself left out. A name may hold a newline, which the program prints as it is.
 */
export function parseSubvolumeList(output: string): string[] {
  const paths: string[] = [];
  for (const line of output.replace(/\n$/, '').split('\n')) {
    const found = /^ID \d+ gen \d+ top level \d+ path (.*)$/.exec(line)?.[1];
    if (found !== undefined) {
      paths.push(`/${found.startsWith(TREE_PREFIX) ? found.slice(TREE_PREFIX.length) : found}`);
    } else if (paths.length > 0) {
      paths.push(`${paths.pop()}\n${line}`);
    }
  }
  return paths;
}

/** The paths of all subvolumes of the btrfs mounted at `mount`, from its top level. Rejects with `snapshotFailed`. */
export async function listSubvolumes(mount: Mount): Promise<string[]> {
  const result = await runCommand(['btrfs', 'subvolume', 'list', '-a', '--', mount.mountpoint], {
    timeoutMs: 60_000,
  });
  if (result.exitCode !== 0) {
    throw new FsbackupError(
      'snapshotFailed',
      `The subvolumes of ${mount.mountpoint} cannot be listed: ${describeFailure('btrfs', result)}`,
      { hint: 'Install btrfs-progs and run fsbackup as root.' },
    );
  }
  return parseSubvolumeList(result.stdout);
}

/**
 * The btrfs subvolumes nested below `directory`, at any depth, as they are seen from there: each is an empty directory
 * in a snapshot of the subvolume around it. `directory` is symlink-free and on `mount`. Left out: fsbackup's own
 * snapshots, and what another mount hides. Empty for every other filesystem.
 *
 * The list comes from the kernel's tree of subvolumes, whose cost is by their number, and not from a walk over the
 * files; inode numbers then tell which of them can be seen at the path they should be at.
 */
export async function nestedSubvolumes(directory: string, mount: Mount): Promise<string[]> {
  if (mount.fstype !== 'btrfs') return [];
  const nested: string[] = [];
  for (const subvolume of await listSubvolumes(mount)) {
    if (subvolume === mount.root || !isWithin(subvolume, mount.root)) continue;
    const seen = path.join(mount.mountpoint, path.relative(mount.root, subvolume));
    if (seen === directory || !isWithin(seen, directory)) continue;
    if (seen.split('/').includes(SNAPSHOT_DIRECTORY_NAME)) continue;
    if (await isSubvolumeRoot(seen)) nested.push(seen);
  }
  return nested.toSorted();
}
