import { closeSync } from 'node:fs';
import { realpath } from 'node:fs/promises';
import { FsbackupError } from '../errors.js';
import { suggested } from '../system/command-line.js';
import {
  adoptRecord,
  findRecord,
  readRecords,
  type FreezeRecord,
  type FreezeRecordBody,
} from './freeze-record.js';
import { openMount } from './mountpoint.js';
import { lostError } from './slot-verdict.js';
import { findUntold, forgetUntold, type UntoldLoss } from './untold-losses.js';

/** Which freeze somebody means: that of the filesystem at a path, and of this id where one is given. */
export interface Meant {
  path: string;
  /** As `freeze` told it. */
  freezeId: string | undefined;
}

/** A freeze in the care of its guards. */
export interface Held {
  body: FreezeRecordBody;
  /** Nobody can tell whether this one is meant, or one that was made before it by hand, was lost, and was not asked for yet. */
  doubt: UntoldLoss | undefined;
}

function notOurs(mountpoint: string): FsbackupError {
  return new FsbackupError('notFrozen', `${mountpoint} is not frozen by fsbackup; nothing was touched`, {
    hint: `See "fsbackup status"; \`${suggested('thaw', ['--force', mountpoint])}\` ends a freeze that is not ours.`,
  });
}

/** That freeze is over, and there is no record of its end any more. */
function overtaken({ path, freezeId = '' }: Meant): FsbackupError {
  return new FsbackupError(
    'freezeLost',
    `the freeze ${freezeId} of ${path} is over, and how it ended is not known any more; nothing was touched`,
    {
      hint: 'Discard what was taken under it, unless it was thawed by its own command before. "fsbackup status" shows what is frozen.',
    },
  );
}

/** Both snapshots are doubtful: exit 21 for whoever asks. */
export function doubtfulError(path: string, { at, reason }: UntoldLoss): FsbackupError {
  return new FsbackupError(
    'freezeLost',
    `an earlier freeze of ${path} was lost at ${at} (${reason}), and nobody has asked for it since: which of the two is meant cannot be told`,
    {
      hint: `Discard what was taken under either. Name the freeze, as \`freeze\` tells it, to be told of that one: \`${suggested('thaw', ['--freeze', 'ID', path])}\`.`,
    },
  );
}

/** By the name that a guarded freeze was made by: that mount may be gone (umount --lazy), or another one lie over it. */
async function recordOfName(path: string): Promise<FreezeRecord | undefined> {
  const name = await realpath(path).catch(() => path);
  return readRecords().find(
    ({ body, status, guarded }) => guarded && status.kind === 'armed' && body.mountpoint === name,
  );
}

/** The record of the filesystem at a path. Rejects with `usage` where there is no directory, nor was. */
async function recordAt(path: string): Promise<FreezeRecord | undefined> {
  try {
    const { fd, mount } = await openMount(path);
    closeSync(fd);
    const record = findRecord(mount);
    if (record !== undefined && record.status.kind !== 'thawed') return record;
    return (await recordOfName(path)) ?? record;
  } catch (error) {
    const record = await recordOfName(path);
    if (record === undefined) throw error;
    return record;
  }
}

/**
 * The freeze that is meant, in its guards' care. Rejects with what became of it when there is none: `freezeLost`, or `notFrozen` when
 * fsbackup has none there.
 */
export async function findHeld(meant: Meant): Promise<Held> {
  const { path, freezeId } = meant;
  const record = await recordAt(path);
  const untold = record === undefined ? undefined : findUntold(record.body);
  if (freezeId !== undefined && record?.body.freezeId !== freezeId)
    throw untold?.freezeId === freezeId ? lostError(path, untold.reason) : overtaken(meant);
  if (record === undefined) throw notOurs(path);
  const { body, status } = record;
  if (status.kind === 'lost') throw lostError(path, status.reason);
  const before = freezeId === undefined ? untold : undefined;
  // What a running command holds is its own: who comes by with no command means what he froze by hand.
  if (before !== undefined && (status.kind === 'thawed' || !body.detached))
    throw lostError(path, before.reason);
  if (status.kind === 'thawed') throw notOurs(path);
  return { body, doubt: before };
}

/** The `thaw` of what was lost was told so: the next freeze of that filesystem need not keep it. */
export async function noteTold({ path, freezeId }: Meant): Promise<void> {
  const record = await recordAt(path).catch(() => undefined);
  if (record === undefined) return;
  const isMeant = (id: string | undefined): boolean => freezeId === undefined || id === freezeId;
  const untold = findUntold(record.body);
  if (untold !== undefined && isMeant(untold.freezeId)) forgetUntold(untold.majorMinor);
  await adoptRecord(record.body.majorMinor, ({ body, status }, setStatus) => {
    if (status.kind === 'lost' && isMeant(body.freezeId)) setStatus({ ...status, isTold: true });
    return Promise.resolve();
  });
}
