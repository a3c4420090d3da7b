import { FsbackupError } from '../errors.js';
import { thawFailed } from './freeze-errors.js';
import type { FreezeRecordBody } from './freeze-record.js';
import type { LossReason } from './freezer.js';
import { lossReason, SlotState, type Reply } from './protocol.js';

/** What each reason of a loss means, and what it asks for. */
const LOSSES: Readonly<Record<LossReason, string>> = {
  timeout: 'no reset came within the timeout, so the dead-man thawed it',
  'max-hold': 'it was held for the longest time allowed (max-hold), so the dead-man thawed it',
  'holder-died': 'the command that held it died, so the dead-man thawed it',
  'third-party': 'somebody else thawed it',
  'guard-died': 'a watchdog was killed, so it was thawed',
  signal: 'the watchdog was told to end by a signal, so it thawed it',
};

/** The EINVAL of the 2008 ioctl. */
export function lostError(mountpoint: string, reason: LossReason): FsbackupError {
  return new FsbackupError(
    'freezeLost',
    `${mountpoint} was not frozen any more (EINVAL): ${LOSSES[reason]}`,
    {
      hint: 'Discard the snapshot that was taken under this freeze: it may not be consistent. Then freeze again.',
    },
  );
}

/**
 * Throws what a reply to a reset or a thaw tells of this filesystem: `freezeLost`, `thawFailed`, `notFrozen` for one that
 * was thawed meanwhile because it was asked for.
 */
export function slotVerdict(
  body: Pick<FreezeRecordBody, 'mountpoint' | 'slot' | 'detached'>,
  reply: Pick<Reply, 'error' | 'slots'>,
): void {
  const slot = reply.slots[body.slot];
  const lost = slot === undefined ? undefined : lossReason(slot.loss);
  // Taken away from a running command, just now and by us: that command is told, not we.
  const takenByUs = !body.detached && lost === 'third-party' && slot?.thawErrno === 0;
  if (takenByUs) return;
  if (lost !== undefined) throw lostError(body.mountpoint, lost);
  if (reply.error === 0) return;
  if (slot?.state === SlotState.thawed) {
    throw new FsbackupError(
      'notFrozen',
      `${body.mountpoint} is not frozen any more: it was thawed meanwhile`,
      {
        hint: 'Whoever ran "fsbackup thaw" ended the freeze. Discard a snapshot that was not complete by then.',
      },
    );
  }
  throw thawFailed(body, `FITHAW failed with errno ${reply.error}`);
}
