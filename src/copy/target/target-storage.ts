import { realpath } from 'node:fs/promises';
import path from 'node:path';
import { AbsentStorageError, errnoOf } from '../../errors.js';
import { identifyAt, type FilesystemIdentity } from '../../system/filesystem-identity.js';
import { deviceWithUuid } from '../../system/filesystem-uuid.js';
import { readMounts } from '../../system/mountinfo.js';
import type { BackupRef } from '../backup/backup-layout.js';
import { shellWord } from '../../system/command-line.js';

/** What lay on these is gone with the mount: nothing is to be waited for. */
const GONE_WITH_THE_MOUNT: ReadonlySet<string> = new Set(['tmpfs', 'ramfs', 'overlay']);

/** What the journal has of where something lies; a repository's own id tells no filesystem. */
export function asStorage(identity: FilesystemIdentity | undefined): FilesystemIdentity | undefined {
  if (identity === undefined || identity.kind === 'repository') return undefined;
  return GONE_WITH_THE_MOUNT.has(identity.fstype) ? undefined : identity;
}

/** The directory, or what is nearest above it and exists; free of symlinks. */
async function nearest(directory: string): Promise<string> {
  try {
    return await realpath(directory);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT' || directory === '/') throw error;
    return await nearest(path.dirname(directory));
  }
}

async function identityAt(directory: string): Promise<FilesystemIdentity | undefined> {
  return (await identifyAt(await nearest(directory)))?.identity;
}

/** The filesystem that what is in a directory lies on, for the journal; undefined where nobody could know it again. */
export async function storageAt(directory: string): Promise<FilesystemIdentity | undefined> {
  return asStorage(await identityAt(directory));
}

async function deviceOf({ kind, value }: FilesystemIdentity): Promise<string | undefined> {
  if (kind === 'uuid') return await deviceWithUuid(value);
  return (await readMounts()).find(({ source }) => kind === 'source' && source === value)?.mountpoint;
}

/**
 * Whoever does not find something in a directory asks this before he calls it gone: rejects with `AbsentStorageError` when
 * that is on another filesystem now than the one `then` that it was on, a disk that is away perhaps. `what` names it, and
 * `name` is the end of its path there. Without `then`, an older version's, there is nothing to go by.
 */
export async function requireStorage(
  { what, directory, name }: { what: string; directory: string; name: string },
  then: FilesystemIdentity | undefined,
): Promise<void> {
  if (then === undefined) return;
  const now = await identityAt(directory);
  if (now?.kind === then.kind && now.value === then.value) return;
  const filesystem = `${then.fstype} ${then.value}`;
  throw new AbsentStorageError(`${what} lies on the ${filesystem}, which is not at ${directory} now`, {
    hint: `Mount ${then.kind === 'uuid' ? `UUID=${then.value}` : shellWord(then.value)} there, then run: fsbackup recover`,
    left: `${name}, in what was ${directory}, on the ${filesystem}`,
    findDevice: () => deviceOf(then),
  });
}

/** The same of a backup in its target. */
export async function requireBackupStorage(
  kind: string,
  { target, job, backupId }: BackupRef,
  storage: FilesystemIdentity | undefined,
): Promise<void> {
  const name = path.join(job, backupId);
  await requireStorage({ what: `${kind} ${name}`, directory: target, name }, storage);
}
