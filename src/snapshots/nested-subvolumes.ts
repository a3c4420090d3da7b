import path from 'node:path';
import { FsbackupError } from '../errors.js';
import { isWithin, type Mount } from '../system/mountinfo.js';
import { describeFailure, runCommand } from '../system/run-command.js';
import { isSubvolumeRoot } from '../system/subvolume.js';
import { SNAPSHOT_DIRECTORY_NAME } from './private-directory.js';

/** `btrfs subvolume list -a` marks with this the paths that are not below the subvolume it was asked about. */
const TREE_PREFIX = '<FS_TREE>/';

/** A subvolume as it is listed. */
interface ListedSubvolume {
  id: string;
  /** From the top level of the btrfs. */
  path: string;
}

function parseEntries(output: string): ListedSubvolume[] {
  const entries: ListedSubvolume[] = [];
  for (const line of output.replace(/\n$/, '').split('\n')) {
    const [, id, found] = /^ID (\d+) gen \d+ top level \d+ path (.*)$/.exec(line) ?? [];
    const last = entries.at(-1);
    if (id !== undefined && found !== undefined) {
      const inside = found.startsWith(TREE_PREFIX) ? found.slice(TREE_PREFIX.length) : found;
      entries.push({ id, path: `/${inside}` });
    } else if (last !== undefined) last.path += `\n${line}`;
  }
  return entries;
}

/**
 * Parses the output of `btrfs subvolume list -a`: the paths of all subvolumes of a btrfs, from its top level
 * (`/srv/data`), the top level itself left out. A name may hold a newline, which the program prints as it is; one that
 * goes on as a line of the list does is taken for two.
 */
export function parseSubvolumeList(output: string): string[] {
  return parseEntries(output).map((entry) => entry.path);
}

async function listEntries(mount: Mount): Promise<ListedSubvolume[]> {
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
  return parseEntries(result.stdout);
}

/** The paths of all subvolumes of the btrfs mounted at `mount`, from its top level. Rejects with `snapshotFailed`. */
export async function listSubvolumes(mount: Mount): Promise<string[]> {
  return (await listEntries(mount)).map((entry) => entry.path);
}

/** The path of one subvolume, asked for by itself; undefined where there is none of that id. */
async function resolveSubvolume(id: string, mount: Mount): Promise<string | undefined> {
  const result = await runCommand(['btrfs', 'inspect-internal', 'subvolid-resolve', id, mount.mountpoint], {
    timeoutMs: 60_000,
  });
  if (result.exitCode === 0) return `/${result.stdout.replace(/\n$/, '')}`;
  // ENOENT: deleted meanwhile, or no more than a part of a name.
  if (/error -2\b|No such file/.test(result.stderr)) return undefined;
  throw new FsbackupError(
    'snapshotFailed',
    `Where the subvolume ${id} of ${mount.mountpoint} is cannot be told: ${describeFailure('btrfs', result)}`,
    { hint: 'See what is wrong with it: btrfs subvolume list' },
  );
}

/**
 * The btrfs subvolumes nested below `directory`, at any depth, as they are seen from there: each is an empty directory
 * in a snapshot of the subvolume around it. `directory` is symlink-free and on `mount`. Left out: fsbackup's own
 * snapshots, and what another mount hides. Empty for every other filesystem.
 *
 * The list comes from the kernel's tree of subvolumes, whose cost is by their number, and not from a walk over the
 * files; inode numbers then tell which of them can be seen at the path they should be at. Who makes a subvolume names it as he
 * likes, as two lines of that list, too: what is at no such path, or listed twice at one, is asked for by its id.
 * Rejects with `snapshotFailed`.
 */
export async function nestedSubvolumes(directory: string, mount: Mount): Promise<string[]> {
  if (mount.fstype !== 'btrfs') return [];
  const nested = new Set<string>();
  /** Whether it is there, or is no matter. */
  const isSettled = async (subvolume: string): Promise<boolean> => {
    if (subvolume === mount.root || !isWithin(subvolume, mount.root)) return true;
    const seen = path.join(mount.mountpoint, path.relative(mount.root, subvolume));
    if (seen === directory || !isWithin(seen, directory)) return true;
    if (seen.split('/').includes(SNAPSHOT_DIRECTORY_NAME)) return true;
    if (!(await isSubvolumeRoot(seen))) return false;
    nested.add(seen);
    return true;
  };
  const entries = await listEntries(mount);
  const counts = new Map<string, number>();
  for (const { path: listed } of entries) counts.set(listed, (counts.get(listed) ?? 0) + 1);
  for (const { id, path: listed } of entries) {
    if ((await isSettled(listed)) && counts.get(listed) === 1) continue;
    const resolved = await resolveSubvolume(id, mount);
    if (resolved !== undefined && resolved !== listed) await isSettled(resolved);
  }
  return [...nested].toSorted();
}
