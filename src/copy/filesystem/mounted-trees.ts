import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf } from '../../errors.js';
import { isWithin } from '../../system/mountinfo.js';
import { inOwnMounts, LET_GO, snapshotMounts } from '../../system/own-mounts.js';
import { withPinnedDirectory } from '../../system/pinned-directory.js';
import type { runCommand } from '../../system/run-command.js';
import { UnreadablePaths } from '../copy-error.js';
import type { CopyResult, RestoreRequest } from '../engine.js';
import { makeParents, setParentTimes } from '../parent-directories.js';
import { keepingTimes } from '../restore/restore-staging.js';
import { createRsyncEngine } from '../rsync/rsync-engine.js';
import { pathInBackup } from '../source-layout.js';

/** One mount in a namespace of its own. */
export interface MountStep {
  /** `none` for a bind mount. */
  fstype: string;
  options: string;
  source: string;
  /** Exists already, or in what an earlier step mounts. */
  at: string;
}

/**
 * `$1` is where all snapshots are shown; then fours of type, options, source and mountpoint, up to `--`, and the program.
 * The kernel itself mounts what a backup says that it is: mount(8) would run `mount.TYPE`, and that of FUSE runs what the
 * type and the source name. ZFS has a helper, and is never what a backup says.
 */
const SCRIPT = `${LET_GO}
let_go "$1"
shift
while [ "$1" != -- ]; do
  if [ "$1" = zfs ]; then
    mount --no-mtab -t "$1" -o "$2" -- "$3" "$4"
  else
    mount --no-mtab --internal-only -t "$1" -o "$2" -- "$3" "$4"
  fi
  shift 4
done
shift
exec "$@"
`;

/**
 * A command that sees these mounts, in a mount namespace of its own: they end with it, loop devices included, whatever
 * becomes of us.
 */
export function withMounts(
  steps: readonly MountStep[],
  argv: readonly [string, ...string[]],
): [string, ...string[]] {
  const mounts = steps.flatMap(({ fstype, options, source, at }) => [fstype, options, source, at]);
  return [...inOwnMounts(SCRIPT, 'fsbackup-mounts'), snapshotMounts(), ...mounts, '--', ...argv];
}

/** A tree of a backup, as it can be read once `mounts` are there. */
export interface ReadableTree {
  /** On the live system. */
  path: string;
  readFrom: string;
}

/** Where the trees are. */
export interface TreesToRestore {
  trees: readonly ReadableTree[];
  mounts: readonly MountStep[];
  /** A private directory. */
  scratch: string;
}

/** The tree that owns a path: the innermost of those that it lies in. */
function ownerOf(live: string, trees: readonly ReadableTree[]): ReadableTree | undefined {
  return trees
    .filter((tree) => isWithin(live, tree.path))
    .reduce<ReadableTree | undefined>(
      (inner, tree) => (tree.path.length > (inner?.path.length ?? -1) ? tree : inner),
      undefined,
    );
}

/** What of a tree is wanted. */
function wantedOf(tree: ReadableTree, asked: readonly string[], trees: readonly ReadableTree[]): string[] {
  if (asked.length === 0 || asked.some((wanted) => isWithin(tree.path, wanted))) return [tree.path];
  return asked.filter((wanted) => ownerOf(wanted, trees) === tree);
}

/** Runs `work`, and sets back the times of a directory, if it is there and no symlink leads to it, whatever bears its name by then. */
async function keepingTimesOf<T>(directory: string, work: () => Promise<T>): Promise<T> {
  let isHeld = false;
  try {
    return await withPinnedDirectory(directory, (pinned) => {
      isHeld = true;
      return keepingTimes(pinned.path, work);
    });
  } catch (error) {
    if (isHeld || errnoOf(error) === undefined) throw error;
    return await work();
  }
}

/**
 * `CopyEngine.restore` for a backup whose trees can be read somewhere: shows each, in a mount namespace, at the path
 * that it had, and has rsync restore from there; outer ones before those that lie in them, which need no directory there.
 */
export async function restoreTrees(
  request: RestoreRequest,
  { trees, mounts, scratch }: TreesToRestore,
  run: typeof runCommand,
): Promise<CopyResult> {
  const unreadable = new UnreadablePaths();
  const tally = { bytes: 0, files: 0 };
  const outermostFirst = trees.toSorted((a, b) => a.path.length - b.path.length);
  for (const [index, tree] of outermostFirst.entries()) {
    const paths = wantedOf(tree, request.paths, trees);
    if (paths.length === 0) continue;
    const stand = path.join(scratch, `tree-${index}`);
    await mkdir(stand, { mode: 0o700 });
    const sources = [{ ...tree, exclude: [] }];
    await makeParents(stand, sources, request.signal);
    await mkdir(path.join(stand, pathInBackup(tree.path)), { recursive: true, mode: 0o700 });
    await setParentTimes(stand, sources);
    const at = path.join(stand, pathInBackup(tree.path));
    const bind = { fstype: 'none', options: 'bind', source: tree.readFrom, at };
    const inside: typeof runCommand = (argv, options) => run(withMounts([...mounts, bind], argv), options);
    const live = request.liveDestination ?? request.destination;
    const above = path.dirname(path.join(live, pathInBackup(tree.path)));
    const bring = (): Promise<CopyResult> =>
      createRsyncEngine(inside).restore({
        ...request,
        sources: [tree.path],
        dataDirectory: stand,
        paths: paths.includes(tree.path) && tree.path === '/' ? [] : paths,
        onProgress: ({ bytes, files }) =>
          request.onProgress({ bytes: tally.bytes + bytes, files: tally.files + files }),
      });
    const done = await (tree.path === '/' || index === 0 ? bring() : keepingTimesOf(above, bring));
    tally.bytes += done.bytes;
    tally.files += done.files;
    for (const lost of done.unreadable) unreadable.add(lost);
  }
  return { ...tally, unreadable: unreadable.paths };
}
