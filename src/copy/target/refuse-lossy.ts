import { FsbackupError } from '../../errors.js';
import { probeKeeping, type NotKept } from '../../system/probe-keeping.js';

/**
 * Rejects with `usage` for a target that takes a tree of files and loses of it what no error tells: the backup would be called good.
 * Writes, and removes that again.
 */
export async function refuseLossyTarget(
  target: string,
  probe: (directory: string) => Promise<NotKept> = probeKeeping,
): Promise<void> {
  const { foldsNames, losesRights } = await probe(target);
  if (!foldsNames && !losesRights) return;
  const why = foldsNames
    ? 'does not tell names apart that differ by case, or by how Unicode writes them: of such files one alone would be in the backup'
    : 'takes owners and modes of files and does not keep them: private files would lie open, and be restored so';
  throw new FsbackupError('usage', `the filesystem of ${target} ${why}`, {
    hint: 'Use the engine tar, restic or borg, which keep that in files of their own, or a target on ext4, XFS or btrfs.',
  });
}
