import { mkdir, realpath, rmdir } from 'node:fs/promises';
import path from 'node:path';
import { FsbackupError } from '../errors.js';
import { ensurePrivateDirectory, runDirectory } from './directories.js';
import { escapePath, type Mount } from './mountinfo.js';
import { inOwnMounts, LET_GO, snapshotMounts } from './own-mounts.js';
import { runAtMost } from './run-at-most.js';
import { describeFailure } from './run-command.js';

/** What the script ends with when a name leads elsewhere than it did: no program that works in a view has it. */
const MOVED = 98;

/**
 * In a mount namespace of its own: an empty directory, each mount in its place below it with `nosymfollow`
 * (mount(8), Linux 5.10), then the program. Its arguments: where snapshots are shown, the directory, MOUNTPOINT OPTIONS WHAT
 * PLACE for each, `--`, the program.
 *
 * A name in the live tree may lead elsewhere by now, and a bind mount of it follows: WHAT, the device and the directory of
 * it as mountinfo writes them, is what must have come of it at PLACE. A descriptor of it would not do: the kernel binds nothing of
 * another namespace. Private, since what users mount (FUSE) would show up in the view and follow symlinks; what did so before it was
 * private is seen at once. `--no-canonicalize`: mount(8) would follow the symlinks that the kernel refuses.
 */
const SCRIPT = `${LET_GO}
let_go "$1"
root=$2; shift 2
mount -t tmpfs -o mode=0700,size=1m fsbackup "$root"
while [ "$1" != -- ]; do
  mkdir -p "$root$1"
  mount --no-canonicalize --bind --make-private "$1" "$root$1"
  mount --no-canonicalize -o "remount,bind,$2,nosymfollow" "$root$1"
  shown=
  while read -r _ _ device inside at _; do
    case "$at" in
      "$4") shown="$device $inside" ;;
      "$4"/?*) shown="$at"; break ;;
    esac
  done </proc/self/mountinfo
  if [ "$shown" != "$3" ]; then
    echo "fsbackup: $1 is not the directory that was looked at, or somebody mounts in it" >&2
    exit 98
  fi
  shift 4
done
shift
exec "$@"`;

const CHECK_TIMEOUT_MS = 30_000;

/** The live filesystems as one program sees them, that writes to them and follows no symlink in them. */
export interface SealedView {
  /** What that program finds `/` under. */
  directory: string;
  /** Begins its argument array. */
  under: readonly string[];
}

/** Where the view of a process is for the programs in it: nobody else has anything there. */
export async function viewDirectory(pid: number): Promise<string> {
  return path.join(await realpath(runDirectory()), `in-place-${pid}`);
}

/** What is shown in a view: a mount, as mountinfo had it when it was looked at. */
export type SealedMount = Pick<Mount, 'mountpoint' | 'options' | 'majorMinor' | 'root'>;

/** Pure. `mounts`: a mount before those below it. */
export function sealedCommand(directory: string, mounts: readonly SealedMount[]): string[] {
  const parts = mounts.flatMap(({ mountpoint, options, majorMinor, root }) => [
    mountpoint,
    options.join(','),
    `${majorMinor} ${escapePath(root)}`,
    escapePath(path.join(directory, mountpoint)),
  ]);
  return [...inOwnMounts(SCRIPT, 'fsbackup-sealed'), snapshotMounts(), directory, ...parts, '--'];
}

/**
 * Runs `work` with a view of these mounts, and of nothing else. The kernel itself refuses to follow a symlink in it,
 * whoever makes one and when: a name that was checked cannot lead elsewhere once it is used. The view is gone with the
 * program, whatever becomes of us. Each program looks anew whether the names of the mounts still lead to them, and does not begin where
 * one does not. Rejects with `usage` where that is so at once, and where the kernel or our privileges give no view;
 * `otherwise` says, as a sentence, what to do without one.
 */
export async function withSealedView<T>(
  mounts: readonly SealedMount[],
  work: (view: SealedView) => Promise<T>,
  otherwise = 'Else restore with --to DIR, and move it from there.',
): Promise<T> {
  await ensurePrivateDirectory(runDirectory());
  const directory = await viewDirectory(process.pid);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  try {
    const prefix = sealedCommand(directory, mounts);
    const [first = 'unshare', ...rest] = prefix;
    const result = await runAtMost([first, ...rest, 'true'], { timeoutMs: CHECK_TIMEOUT_MS });
    if (result.exitCode === MOVED) {
      throw new FsbackupError('usage', `nothing is restored: ${describeFailure('the view', result)}`, {
        hint: 'Somebody moved a directory above a mountpoint, or mounted something. See what became of it (findmnt), and restore again.',
      });
    }
    if (result.exitCode !== 0) {
      throw new FsbackupError(
        'usage',
        `this host cannot keep a restore from following symlinks: ${describeFailure('unshare', result)}`,
        {
          hint: `It takes root with CAP_SYS_ADMIN, and Linux 5.10 with util-linux 2.38 or later (nosymfollow). ${otherwise}`,
        },
      );
    }
    return await work({ directory, under: prefix });
  } finally {
    await rmdir(directory);
  }
}
