import { FsbackupError } from '../../errors.js';
import { probeAttributes, type AttributeSupport } from '../repository/attribute-support.js';
import { NotShownError, whileServed } from '../repository/fuse-mount.js';
import { findLostAttributes } from '../repository/lost-attributes.js';
import type { Extraction } from '../repository/staged-restore.js';
import { shownIn } from '../restore/restore-staging.js';
import type { RestoreRequest } from '../engine.js';
import { resticFuse } from './restic-mount.js';
import type { ResticRepository } from './restic-repository.js';
import { extractSnapshot } from './restic-restore.js';

const NO_ACLS = 'the destination keeps no ACLs, and restic does not tell which files have one';
const WITH_ACLS =
  'Restore to a filesystem with ACLs (ZFS: acltype=posix), or where FUSE is (/dev/fuse, fuse3), by which those files are found.';
const NOT_COMPARED =
  'extended attributes were not compared with the backup, which takes FUSE (/dev/fuse, fuse3): restic does not tell of files that lack some, ACLs perhaps, since the destination has no room for them';

/** What a destination keeps of a file beside its mode, and whether a restore to it can be compared with the backup. */
interface Destination {
  support: AttributeSupport;
  canCompare: boolean;
}

/**
 * To be called before anything is restored. restic says nothing of attributes that a filesystem knows nothing of. Rejects with
 * `usage` where it keeps no ACLs, and nobody could tell which files had one: their groups would have more rights than before.
 */
async function prepare(directory: string, hasFuse: () => Promise<boolean>): Promise<Destination> {
  const support = await probeAttributes(directory);
  const canCompare = await hasFuse();
  if (support.acls || canCompare) return { support, canCompare };
  throw new FsbackupError('usage', NO_ACLS, { hint: WITH_ACLS });
}

/** What was restored, and what restic said of it. */
interface Restored extends Extraction {
  snapshot: string;
  /** It complained of an attribute of a file: and has set none of that file after that one. */
  isComplaining: boolean;
}

/**
 * Names what lacks attributes: all of what was restored is compared with the snapshot, which is mounted for that, where there may be
 * such a thing and restic does not tell. Resolves to a warning where nobody can look. Rejects with `failed` where nobody can and
 * rights depend on it.
 */
async function check(
  repository: ResticRepository,
  { support, canCompare }: Destination,
  { snapshot, isComplaining, staged, directory, unreadable }: Restored,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (support.acls && support.names) {
    if (support.large || (!isComplaining && (await repository.tellsOfAttributes()))) return undefined;
  }
  if (!canCompare) return NOT_COMPARED;
  try {
    const program = resticFuse(repository, snapshot, []);
    await whileServed(program, shownIn(directory), signal, (shown) =>
      findLostAttributes(staged, shown, { onLost: (live) => unreadable.add(live), signal }),
    );
    return undefined;
  } catch (error) {
    if (!(error instanceof NotShownError)) throw error;
    if (support.acls) return NOT_COMPARED;
    throw new FsbackupError('failed', `${NO_ACLS}: ${error.message}`, { hint: WITH_ACLS, cause: error });
  }
}

/**
 * Brings a snapshot, or some paths of it, to the directory of an extraction, and names what lacks extended attributes, ACLs
 * among them, of which restic may say nothing. Resolves to warnings of what nobody could look at.
 */
export async function restoreSnapshot(
  repository: ResticRepository,
  snapshot: string,
  extraction: Extraction,
  request: Pick<RestoreRequest, 'signal' | 'onProgress'> & { hasFuse: () => Promise<boolean> },
): Promise<string[]> {
  const destination = await prepare(extraction.directory, request.hasFuse);
  let isComplaining = false;
  const onAttribute = (): void => {
    isComplaining = true;
  };
  await extractSnapshot(repository, snapshot, extraction, { ...request, onAttribute });
  const restored = { ...extraction, snapshot, isComplaining };
  const warning = await check(repository, destination, restored, request.signal);
  return warning === undefined ? [] : [warning];
}
