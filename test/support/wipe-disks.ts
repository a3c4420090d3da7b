import { runCommand } from '../../src/system/run-command.js';
import { must } from './throwaway-filesystem.js';

/** Makes disks of the lab empty for whoever is next: signatures, and the partitions that a pool of ZFS had there. */
export async function wipeDisks(disks: readonly string[]): Promise<void> {
  for (const disk of disks) {
    await must('wipefs', '--all', '--force', '--quiet', disk);
    // A disk without partitions is no failure.
    await runCommand(['partx', '--delete', disk], { timeoutMs: 30_000 });
  }
  await must('udevadm', 'settle');
}
