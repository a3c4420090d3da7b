import { FsbackupError } from '../errors.js';
import { exists } from '../system/exists.js';
import { readMounts, isWithin } from '../system/mountinfo.js';
import { describeFailure, runCommand } from '../system/run-command.js';
import { shellWord } from '../system/command-line.js';

/**
 * Removes a directory with all that is in it. Idempotent. Refuses, with `cleanupIncomplete`, when anything is mounted
 * on it or below. `directory` is absolute and free of symlinks.
 *
 * rm(1) and not Node's: that one cannot name files whose names are not UTF-8.
 */
export async function removeTree(directory: string): Promise<void> {
  // Most of what is to be removed is not there. Where that cannot be told, rm says why.
  if (!(await exists(directory).catch(() => true))) return;
  const mount = (await readMounts()).find(({ mountpoint }) => isWithin(mountpoint, directory));
  if (mount !== undefined) {
    throw new FsbackupError(
      'cleanupIncomplete',
      `${directory} is not removed: ${mount.mountpoint} is mounted in it`,
      {
        hint: `Unmount it: umount ${shellWord(mount.mountpoint)}; then run fsbackup recover.`,
      },
    );
  }
  const result = await runCommand(['rm', '--recursive', '--force', '--one-file-system', '--', directory]);
  if (result.exitCode === 0) return;
  throw new FsbackupError(
    'cleanupIncomplete',
    `${directory} could not be removed: ${describeFailure('rm', result)}`,
    { hint: 'Remove what it names, then run fsbackup recover.' },
  );
}
