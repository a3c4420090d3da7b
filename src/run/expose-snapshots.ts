import { rmdir } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf } from '../errors.js';
import type { Exposure, SnapshotProvider, SnapshotRef } from '../snapshots/provider.js';
import { ensurePrivateDirectory } from '../system/directories.js';
import type { RunContext } from './context.js';
import type { TakenSnapshot } from './take-snapshots.js';
import { faultPoint } from '../system/fault-point.js';

/** Removes an empty directory; never what is in one. */
export async function removeEmptyDirectory(directory: string): Promise<void> {
  try {
    await rmdir(directory);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}

/** A snapshot that ran full cannot be mounted: then that is what happened, and not what mount(8) says of it. */
async function expose(provider: SnapshotProvider, ref: SnapshotRef, directory: string): Promise<Exposure> {
  try {
    return await provider.expose(ref, directory);
  } catch (error) {
    await provider.checkIntact(ref);
    throw error;
  }
}

/**
 * Shows each snapshot at a directory that is the same in every run of the job, so that the file caches of copy
 * programs hold. Resolves to the directories by source index.
 */
export async function exposeSnapshots(
  taken: ReadonlyMap<number, TakenSnapshot>,
  { dependencies, stack, signal }: RunContext,
): Promise<Map<number, string>> {
  const directories = new Map<number, string>();
  for (const [index, { provider, ref, held }] of taken) {
    signal.throwIfAborted();
    const directory = path.join(dependencies.mountDirectory, String(index));
    const exposure = { snapshot: { ...ref, data: { ...ref.data } }, path: directory };
    const entry = await dependencies.journal.record('exposure', exposure);
    const unexpose = async (): Promise<void> => {
      await provider.unexpose(exposure);
      await removeEmptyDirectory(directory);
      faultPoint('exposure.released');
      await entry.remove();
    };
    stack.push(`the mount ${directory}`, unexpose, held);
    faultPoint('exposure.intended');
    await ensurePrivateDirectory(directory);
    directories.set(index, (await expose(provider, ref, directory)).path);
    faultPoint('exposure.shown');
  }
  return directories;
}
