import path from 'node:path';
import { inOwnDirectory } from '../../snapshots/private-directory.js';
import { readSubvolume, type Subvolume } from '../../system/btrfs-subvolume.js';
import { exists } from '../../system/exists.js';
import type { runCommand } from '../../system/run-command.js';
import { readContents, streamFile, type BtrfsContents, type SentSubvolume } from './btrfs-contents.js';
import type { CopyBase } from '../engine.js';

/** What an increment is made from. */
export interface BtrfsParent {
  /** The kept snapshot, on the source. */
  snapshot: string;
  subvolume: Subvolume;
  backupId: string;
  /** What was made of it in the target. */
  sent: SentSubvolume;
  /** Where, if that was received. */
  received: string;
}

/**
 * The subvolume that a snapshot of ours is; undefined where it is not there. Looked at in its directory, held open, in which
 * nobody but root can put another in its place. Rejects with `snapshotFailed` where that directory is not ours.
 */
export async function readOwnSubvolume(snapshot: string): Promise<Subvolume | undefined> {
  return await inOwnDirectory(path.dirname(snapshot), (own) =>
    readSubvolume(path.join(own.path, path.basename(snapshot))),
  );
}

/** What a snapshot must still be to be a base: nobody wrote to it, and it is no other one. */
export function identityOf({ uuid, generation }: Subvolume): string {
  return `${uuid} at ${generation}`;
}

/** Whether anything in a subvolume has a later ctime than its end of being received. What cannot be looked at may have. */
async function wasWrittenTo(
  directory: string,
  received: Subvolume,
  run: typeof runCommand,
): Promise<boolean> {
  if (received.receivedAt === undefined) return true;
  const later = ['-newerct', `@${received.receivedAt}`, '-print', '-quit'] as const;
  const found = await run(['find', directory, '-xdev', ...later]);
  return found.exitCode !== 0 || found.stdout !== '';
}

/**
 * Whether what was received is still there as it was. It is no longer once it has been made writable; an ioctl by itself, as of
 * btrfs-progs before 5.14.2, leaves its received UUID, and then the last change tells, or, where there was one, which may have been to
 * deduplicate it, the ctimes.
 */
export async function isAsReceived(
  directory: string,
  { receivedUuid, lastChange }: SentSubvolume,
  run: typeof runCommand,
): Promise<boolean> {
  const received = await readSubvolume(directory);
  if (received?.isReadOnly !== true || receivedUuid === undefined) return false;
  if (received.receivedUuid !== receivedUuid) return false;
  return received.lastChange === lastChange || !(await wasWrittenTo(directory, received, run));
}

async function sentOf(
  base: CopyBase,
  uuid: string,
  kind: BtrfsContents['kind'],
  run: typeof runCommand,
): Promise<SentSubvolume | undefined> {
  const contents = await readContents(base.dataDirectory).catch(() => undefined);
  const sent = contents?.kind === kind ? contents.subvolumes.find((one) => one.uuid === uuid) : undefined;
  if (sent === undefined) return undefined;
  const isThere =
    kind === 'received'
      ? await isAsReceived(path.join(base.dataDirectory, sent.name), sent, run)
      : await exists(path.join(base.dataDirectory, streamFile(sent.name)));
  return isThere ? sent : undefined;
}

/** Whether what was received was made of the parent that was meant: btrfs-receive(8) looks for one by its UUID, in all of its filesystem. */
export async function isMadeOf(directory: string, { received }: BtrfsParent): Promise<boolean> {
  const [made, parent] = await Promise.all([readSubvolume(directory), readSubvolume(received)]);
  return made?.parentUuid !== undefined && made.parentUuid === parent?.uuid;
}

/**
 * A subvolume that was received, and made writable by an ioctl (`btrfs property set … ro false` before btrfs-progs 5.14.2), bears its
 * received UUID for ever, and so do all of its read-only snapshots. A stream names them by that, and btrfs-receive(8) takes the
 * oldest of them for the parent, whichever was meant.
 */
const NOT_TOLD_APART =
  'what it is of was received once and made writable since, and its snapshots cannot be told apart where they are received (btrfs subvolume show: Received UUID)';

/**
 * Finds what an increment of `snapshot` can be made of: a kept snapshot of the same subvolume that is proven to be what
 * was sent, and what was made of it in the target. Otherwise why there is none, a clause.
 */
export async function findBtrfsParent(
  snapshot: Subvolume,
  base: CopyBase,
  kind: BtrfsContents['kind'],
  run: typeof runCommand,
): Promise<BtrfsParent | string> {
  if (snapshot.receivedUuid !== undefined) return NOT_TOLD_APART;
  let reason = 'the snapshot that was kept for it is not there any more';
  for (const { snapshot: ref, identity } of base.snapshots) {
    const kept = ref.data['snapshot'];
    const subvolume = kept === undefined ? undefined : await readOwnSubvolume(kept);
    if (kept === undefined || subvolume === undefined) continue;
    if (subvolume.parentUuid !== snapshot.parentUuid) {
      reason = 'what was kept for it is a snapshot of another subvolume';
    } else if (subvolume.receivedUuid !== undefined) {
      reason = NOT_TOLD_APART;
    } else if (identityOf(subvolume) !== identity || !subvolume.isReadOnly) {
      reason = 'the snapshot that was kept for it was changed';
    } else {
      const sent = await sentOf(base, subvolume.uuid, kind, run);
      if (sent !== undefined) {
        const received = path.join(base.dataDirectory, sent.name);
        return { snapshot: kept, subvolume, backupId: base.backupId, sent, received };
      }
      reason = `the backup ${base.backupId} does not have what it is to be an increment of, or that was changed`;
    }
  }
  return reason;
}
