import { lstat, mkdir, readdir } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf, FsbackupError } from '../../errors.js';
import { isWithin } from '../../system/mountinfo.js';
import { runCommand } from '../../system/run-command.js';
import { copyFailure } from '../copy-error.js';
import type { CopySource } from '../engine.js';
import { makeParents, setParentTimes } from '../parent-directories.js';
import { inOwnMounts, LET_GO, snapshotMounts } from '../../system/own-mounts.js';
import { removeTree } from '../remove-tree.js';
import { deepestFirst, pathInBackup } from '../source-layout.js';

/**
 * The sources of a copy at one place, each at the path that it has on the live system, for programs that keep what they
 * copy under the paths that they read it at. The mounts are in a mount namespace of the program alone: they end with
 * it, whatever becomes of us.
 */
export interface MergedTree {
  /** Paths of the sources, relative to the tree: what to copy there, with the tree as working directory. */
  names: string[];
  /** The program and its arguments, to be run in the tree. */
  inTree: (argv: readonly [string, ...string[]]) => [string, ...string[]];
  remove: () => Promise<void>;
}

interface Bind {
  from: string;
  at: string;
}

/**
 * `$1` is the tree, `$2` a directory to hold open, so that a later process finds the program by it, `$3` where all snapshots
 * are shown; then pairs of directories to mount, up to `--`, and the program.
 */
const SCRIPT = `${LET_GO}
tree=$1
exec 9<"$2"
snapshots=$3
shift 3
while [ "$1" != -- ]; do
  mount --no-mtab --bind -- "$1" "$2"
  shift 2
done
shift
# Those that are wanted are bound into the tree.
let_go "$snapshots"
cd "$tree"
exec "$@"
`;

async function isDirectory(directory: string): Promise<boolean> {
  try {
    return (await lstat(directory)).isDirectory();
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT' || errno === 'ENOTDIR') return false;
    throw error;
  }
}

/** Of an empty directory: owner, mode, times, ACL and extended attributes. */
async function copyAttributes(from: string, to: string): Promise<void> {
  const argv = ['cp', '--archive', '--attributes-only', '--no-target-directory', '--', from, to] as const;
  const result = await runCommand(argv);
  if (result.exitCode !== 0) throw copyFailure('cp', result);
}

function notThere(source: CopySource, outer: CopySource): FsbackupError {
  return new FsbackupError('copyFailed', `${source.path} has no directory in the copy of ${outer.path}`, {
    hint: `Make ${source.path} a job of its own, or use the rsync engine.`,
  });
}

/**
 * Where a nested source has no directory in the outer one, which is only read: below an empty directory, such as the
 * mountpoint of what the outer one does not have, that directory is replaced by one that has it.
 */
async function placeNested(
  source: CopySource,
  outer: CopySource,
  directory: string,
): Promise<Bind | undefined> {
  const inside = path.relative(outer.path, source.path).split('/');
  for (let depth = inside.length; depth > 0; depth -= 1) {
    const at = path.join(outer.readFrom, ...inside.slice(0, depth));
    if (!(await isDirectory(at))) continue;
    if (depth === inside.length) return undefined;
    if ((await readdir(at)).length > 0) break;
    const live = pathInBackup(path.join(outer.path, ...inside.slice(0, depth)));
    const stand = path.join(`${directory}.places`, live);
    await mkdir(path.join(stand, ...inside.slice(depth)), { recursive: true, mode: 0o755 });
    await copyAttributes(at, stand);
    return { from: stand, at: path.join(directory, live) };
  }
  throw notThere(source, outer);
}

/**
 * Prepares the tree at `directory`, which is made, and emptied first; `hold` is a directory of the copy. The directories
 * above the sources get the owners, modes and times that they have on the live system. Rejects with `copyFailed` when stopped, and for a
 * nested source that the outer one has no directory for.
 */
export async function prepareMergedTree(
  directory: string,
  sources: readonly CopySource[],
  { hold, signal }: { hold: string; signal: AbortSignal },
): Promise<MergedTree> {
  const remove = async (): Promise<void> => {
    await removeTree(directory);
    await removeTree(`${directory}.places`);
  };
  await remove();
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await mkdir(`${directory}.places`, { mode: 0o700 });
  const binds: Bind[] = [];
  const outermostFirst = deepestFirst(sources).toReversed();
  const topmost: CopySource[] = [];
  for (const source of outermostFirst) {
    const outer = outermostFirst.findLast(
      (other) => other.path !== source.path && isWithin(source.path, other.path),
    );
    if (outer === undefined) topmost.push(source);
    else {
      const place = await placeNested(source, outer, directory);
      if (place !== undefined) binds.push(place);
    }
    binds.push({ from: source.readFrom, at: path.join(directory, pathInBackup(source.path)) });
  }
  await makeParents(directory, topmost, signal);
  for (const source of topmost) {
    await mkdir(path.join(directory, pathInBackup(source.path)), { recursive: true, mode: 0o700 });
  }
  await setParentTimes(directory, topmost);
  const pairs = binds.flatMap(({ from, at }) => [from, at]);
  return {
    names: outermostFirst.map((source) => (source.path === '/' ? '.' : pathInBackup(source.path))),
    inTree: (argv) => [
      ...inOwnMounts(SCRIPT, 'fsbackup-tree'),
      directory,
      hold,
      snapshotMounts(),
      ...pairs,
      '--',
      ...argv,
    ],
    remove,
  };
}
