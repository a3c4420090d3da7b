import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { errnoOf } from '../errors.js';
import { btrfsSubvolume, type SubvolumeFacts } from './native.js';
import { describeFailure, runCommand } from './run-command.js';
import { isSubvolumeRootInode } from './subvolume.js';

/** A subvolume as btrfs tells of it: of what it is a snapshot, and which it was received from, complete and unchanged. */
export type Subvolume = SubvolumeFacts;

/** How a stream of `btrfs send` names a subvolume: by what it was received from, where it was. */
export function sentUuidOf(subvolume: Subvolume | undefined): string | undefined {
  return subvolume?.receivedUuid ?? subvolume?.uuid;
}

/** The subvolume whose root `directory` is; undefined where it is none, or not there. A symlink to one is none. */
export async function readSubvolume(directory: string): Promise<Subvolume | undefined> {
  try {
    const handle = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
    try {
      if (!isSubvolumeRootInode(await handle.stat({ bigint: true }))) return undefined;
      return btrfsSubvolume(handle.fd);
    } finally {
      await handle.close();
    }
  } catch (error) {
    // ENOTTY: another filesystem, on which some directory has that inode number.
    if (['ENOENT', 'ENOTDIR', 'ELOOP', 'ENOTTY'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
}

/** Deletes a subvolume. Rejects with what `btrfs` said, one clause. */
export async function deleteSubvolume(directory: string): Promise<void> {
  const deleted = await runCommand(['btrfs', 'subvolume', 'delete', '--', directory], { timeoutMs: 300_000 });
  if (deleted.exitCode !== 0) throw new Error(describeFailure('btrfs', deleted));
}
