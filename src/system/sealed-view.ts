import { mkdir, realpath, rmdir } from 'node:fs/promises';
import path from 'node:path';
import { FsbackupError } from '../errors.js';
import { ensurePrivateDirectory, runDirectory } from './directories.js';
import type { Mount } from './mountinfo.js';
import { inOwnMounts, LET_GO, snapshotMounts } from './own-mounts.js';
import { runAtMost } from './run-at-most.js';
import { describeFailure } from './run-command.js';

/**
 * In a mount namespace of its own: an empty directory, each mount in its place below it with `nosymfollow`
 * (mount(8), Linux 5.10), then the program. As a slave of ours it sees what is unmounted meanwhile, and holds nothing; we see nothing of it. Its arguments: where snapshots are shown, the directory, MOUNTPOINT OPTIONS for each, `--`, the program.
 */
const SCRIPT = `${LET_GO}
let_go "$1"
root=$2; shift 2
mount -t tmpfs -o mode=0700,size=1m fsbackup "$root"
while [ "$1" != -- ]; do
  mkdir -p "$root$1"
  mount --bind "$1" "$root$1"
  mount -o "remount,bind,$2,nosymfollow" "$root$1"
  shift 2
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

/** Pure. `mounts`: a mount before those below it. */
export function sealedCommand(
  directory: string,
  mounts: readonly Pick<Mount, 'mountpoint' | 'options'>[],
): string[] {
  const parts = mounts.flatMap(({ mountpoint, options }) => [mountpoint, options.join(',')]);
  return [...inOwnMounts(SCRIPT, 'fsbackup-sealed'), snapshotMounts(), directory, ...parts, '--'];
}

/**
 * Runs `work` with a view of these mounts, and of nothing else. The kernel itself refuses to follow a symlink in it,
 * whoever makes one and when: a name that was checked cannot lead elsewhere once it is used. The view is gone with the
 * program, whatever becomes of us. Rejects with `usage` where the kernel or our privileges do not give it.
 */
export async function withSealedView<T>(
  mounts: readonly Pick<Mount, 'mountpoint' | 'options'>[],
  work: (view: SealedView) => Promise<T>,
): Promise<T> {
  await ensurePrivateDirectory(runDirectory());
  const directory = path.join(await realpath(runDirectory()), `in-place-${process.pid}`);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  try {
    const prefix = sealedCommand(directory, mounts);
    const [first = 'unshare', ...rest] = prefix;
    const result = await runAtMost([first, ...rest, 'true'], { timeoutMs: CHECK_TIMEOUT_MS });
    if (result.exitCode !== 0) {
      throw new FsbackupError(
        'usage',
        `this host cannot keep a restore from following symlinks: ${describeFailure('unshare', result)}`,
        {
          hint: 'It takes root with CAP_SYS_ADMIN, and Linux 5.10 with util-linux 2.38 or later (nosymfollow). Else restore with --to DIR, and move it from there.',
        },
      );
    }
    return await work({ directory, under: prefix });
  } finally {
    await rmdir(directory);
  }
}
