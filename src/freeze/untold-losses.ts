import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { errnoOf, FsbackupError, messageOf } from '../errors.js';
import { runDirectory } from '../system/directories.js';
import type { FreezeTarget, LossReason } from './freezer.js';
import { isOfAnotherDisk, readBootId, type FreezeRecord } from './freeze-record.js';

/** A freeze by hand that was lost, and whose `thaw` has not come yet to learn that, though the filesystem was frozen anew. */
export interface UntoldLoss extends FreezeTarget {
  bootId: string;
  diskSequence?: string;
  /** Absent where a version made it that gave none. */
  freezeId?: string;
  reason: LossReason;
  /** RFC 3339. */
  at: string;
}

/** One file for each superblock, the last loss of it. */
function lossesDirectory(): string {
  return path.join(runDirectory(), 'untold');
}

function lossFile(majorMinor: string): string {
  return path.join(lossesDirectory(), majorMinor);
}

/**
 * Keeps what a record tells of a lost freeze that nobody has asked for yet: it is about to be overwritten. A command that held its
 * freeze itself knows. Throws `failed` where it cannot be kept: nothing is frozen then.
 */
export function keepUntold({ body, status }: FreezeRecord): void {
  if (status.kind !== 'lost' || status.isTold === true || !body.detached) return;
  const { mountpoint, majorMinor, device, fstype, bootId, diskSequence, freezeId } = body;
  const loss: UntoldLoss = {
    mountpoint,
    majorMinor,
    device,
    fstype,
    bootId,
    ...(diskSequence === undefined ? {} : { diskSequence }),
    ...(freezeId === undefined ? {} : { freezeId }),
    reason: status.reason,
    at: status.at,
  };
  try {
    mkdirSync(lossesDirectory(), { recursive: true, mode: 0o700 });
    writeFileSync(lossFile(majorMinor), `${JSON.stringify(loss)}\n`, { mode: 0o600 });
  } catch (error) {
    throw new FsbackupError(
      'failed',
      `that a freeze of ${mountpoint} was lost cannot be kept: ${messageOf(error)}`,
      {
        hint: `Make room in ${lossesDirectory()}, and see that root may write there; nothing was frozen.`,
        cause: error,
      },
    );
  }
}

/** Undefined for what is none, is of another boot, or of what the device held before. */
function readLoss(majorMinor: string): UntoldLoss | undefined {
  try {
    const loss = JSON.parse(readFileSync(lossFile(majorMinor), 'utf8')) as UntoldLoss;
    return loss.bootId === readBootId() && !isOfAnotherDisk(loss) ? loss : undefined;
  } catch {
    // Most have none; one that was cut short by a full disk tells nothing.
    return undefined;
  }
}

/** The loss of that filesystem that was told to nobody; undefined where there is none. */
export function findUntold({
  majorMinor,
  fstype,
}: Pick<FreezeTarget, 'majorMinor' | 'fstype'>): UntoldLoss | undefined {
  const loss = readLoss(majorMinor);
  return loss?.fstype === fstype ? loss : undefined;
}

/** All of them. */
export function readUntold(): UntoldLoss[] {
  try {
    return readdirSync(lossesDirectory()).flatMap((majorMinor) => readLoss(majorMinor) ?? []);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** It was told. Idempotent. */
export function forgetUntold(majorMinor: string): void {
  rmSync(lossFile(majorMinor), { force: true });
}
