import { mkdir, mkdtemp, stat, utimes } from 'node:fs/promises';
import path from 'node:path';
import { isWithin } from '../system/mountinfo.js';
import type { runCommand } from '../system/run-command.js';
import type { CopyResult, RestoreRequest } from './engine.js';
import { makeParents, setParentTimes } from './parent-directories.js';
import { removeTree } from './remove-tree.js';
import { createRsyncEngine } from './rsync-engine.js';
import { pathInBackup } from './source-layout.js';

/** One mount in a namespace of its own. */
export interface MountStep {
  /** `none` for a bind mount. */
  fstype: string;
  options: string;
  source: string;
  /** Exists already, or in what an earlier step mounts. */
  at: string;
}

/** Fours of type, options, source and mountpoint, up to `--`, then the program. */
const SCRIPT = `
while [ "$1" != -- ]; do
  mount --no-mtab -t "$1" -o "$2" -- "$3" "$4"
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
  const unshare = ['--mount', '--propagation', 'private', '--', 'sh', '-ec', SCRIPT, 'fsbackup-mounts'];
  return ['unshare', ...unshare, ...mounts, '--', ...argv];
}

/**
 * Runs `work` with a private directory inside a restore's destination, where there is room for what is on its way.
 * Removes it afterwards; the destination keeps its times.
 */
export async function withScratch<T>(destination: string, work: (scratch: string) => Promise<T>): Promise<T> {
  const scratch = await mkdtemp(path.join(destination, '.fsbackup-restore-'));
  try {
    return await work(scratch);
  } finally {
    const { atime, mtime } = await stat(destination);
    await removeTree(scratch);
    await utimes(destination, atime, mtime);
  }
}

/** A tree of a backup, as it can be read once `mounts` are there. */
export interface ReadableTree {
  /** On the live system. */
  path: string;
  readFrom: string;
}

/** Where the trees are, and where to put them together. */
export interface TreesToRestore {
  trees: readonly ReadableTree[];
  mounts: readonly MountStep[];
  /** A private directory. */
  scratch: string;
}

/**
 * `CopyEngine.restore` for a backup whose trees can be read somewhere: shows them, in a mount namespace, at the paths
 * that they had, and has rsync restore from there. Nested trees need the directory that they were mounted at.
 */
export async function restoreTrees(
  request: RestoreRequest,
  { trees, mounts, scratch }: TreesToRestore,
  run: typeof runCommand,
): Promise<CopyResult> {
  const stand = path.join(scratch, 'tree');
  await mkdir(stand, { mode: 0o700 });
  const outermostFirst = trees.toSorted((a, b) => a.path.length - b.path.length);
  const topmost = outermostFirst
    .filter((tree) => !trees.some((other) => other !== tree && isWithin(tree.path, other.path)))
    .map((tree) => ({ ...tree, exclude: [] }));
  await makeParents(stand, topmost);
  for (const tree of topmost)
    await mkdir(path.join(stand, pathInBackup(tree.path)), { recursive: true, mode: 0o700 });
  await setParentTimes(stand, topmost);
  const binds = outermostFirst.map((tree) => ({
    fstype: 'none',
    options: 'bind',
    source: tree.readFrom,
    at: path.join(stand, pathInBackup(tree.path)),
  }));
  const inside: typeof runCommand = (argv, options) => run(withMounts([...mounts, ...binds], argv), options);
  return await createRsyncEngine(inside).restore({ ...request, dataDirectory: stand });
}
