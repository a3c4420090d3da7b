import { stat } from 'node:fs/promises';
import { readMounts, type Mount } from '../../system/mountinfo.js';
import { visibleMounts } from '../../system/submounts.js';
import { withHeldFilesystems } from '../../system/held-filesystem.js';
import { requireOnDisk } from '../on-disk.js';
import { mountsBelow, type DestinationUse } from './destination-view.js';

/**
 * Pure. The directories whose filesystems a restore to a directory may write to: it, and of what is mounted in it where something
 * is restored to what lies on a device. To open anything else, a network filesystem that does not answer, may take for ever.
 */
export function writtenBelow(
  { directory, wanted }: Pick<DestinationUse, 'directory' | 'wanted'>,
  mounts: readonly Mount[],
): string[] {
  const below = mountsBelow({ directory, wanted }, mounts).filter(({ source }) => source.startsWith('/dev/'));
  return [directory, ...below.map(({ mountpoint }) => mountpoint)];
}

/** As `writtenBelow`, of what is mounted now. */
export async function writtenFilesystems(
  where: Pick<DestinationUse, 'directory' | 'wanted'>,
): Promise<string[]> {
  return writtenBelow(where, visibleMounts(await readMounts()));
}

/** A file or socket that something is mounted at cannot be replaced: nothing is written there. */
async function directoriesOf(mountpoints: readonly string[]): Promise<string[]> {
  const directories: string[] = [];
  for (const mountpoint of mountpoints)
    if ((await stat(mountpoint)).isDirectory()) directories.push(mountpoint);
  return directories;
}

/**
 * Runs a restore to the filesystems at these mountpoints, or of directories in them, and resolves when all that it wrote is
 * on disk. Rejects with `copyFailed` when it may not be, whoever else was told of that, as open(2), and as `restore` does.
 */
export async function restoringTo<T>(places: readonly string[], restore: () => Promise<T>): Promise<T> {
  return await withHeldFilesystems(await directoriesOf(places), async (held) => {
    const restored = await restore();
    await requireOnDisk(held, 'what was restored');
    return restored;
  });
}
