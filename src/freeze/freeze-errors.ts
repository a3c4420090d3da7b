import { errnoOf, FsbackupError } from '../errors.js';
import type { PageSlot } from '../system/native.js';
import type { FreezeTarget } from './freezer.js';
import { shellWord, suggested } from '../system/command-line.js';

/** Ended by a thaw or by the dead-man before all was frozen. */
export function thawedMeanwhile(cause?: unknown): FsbackupError {
  return new FsbackupError('freezeLost', 'the freeze was given up before it was complete', {
    hint: 'Run the command again.',
    cause,
  });
}

/** What a failed FIFREEZE means. `endedAnothers`: as its slot says it, after the thaw. */
export function freezeError(
  target: FreezeTarget,
  error: unknown,
  { endedAnothers }: Pick<PageSlot, 'endedAnothers'>,
): FsbackupError {
  const { mountpoint, fstype } = target;
  if (endedAnothers !== 0) {
    return new FsbackupError(
      'notFrozen',
      `somebody else froze ${mountpoint} at the same moment, and our thaw ended that freeze`,
      {
        hint: 'Discard what they took under it. Let only one program at a time freeze it, and run the command again.',
        cause: error,
      },
    );
  }
  switch (errnoOf(error)) {
    case 'EBUSY':
      return new FsbackupError(
        'notFrozen',
        `${mountpoint} is already frozen by someone else; it was left as it is`,
        {
          hint: `Let its owner thaw it; if nobody owns it any more, \`${suggested('thaw', ['--force', mountpoint])}\` does.`,
          cause: error,
        },
      );
    case 'EOPNOTSUPP':
      return new FsbackupError('notFrozen', `${mountpoint} is ${fstype}, which cannot be frozen`, {
        hint: 'Freeze works on ext4, XFS, btrfs and other filesystems on a block device; copy this one live instead.',
        cause: error,
      });
    case 'EPERM':
      return new FsbackupError('notFrozen', `no permission to freeze ${mountpoint}`, {
        hint: 'Run as root with CAP_SYS_ADMIN in the namespace that mounted it.',
        cause: error,
      });
    case 'ECANCELED':
      return new FsbackupError(
        'freezeLost',
        `freezing ${mountpoint} took longer than the timeout, so it was given up`,
        {
          hint: 'Something writes faster than the disk takes it; try at a quieter time or with a longer timeout.',
          cause: error,
        },
      );
    default:
      return new FsbackupError('notFrozen', `${mountpoint} could not be frozen: ${String(error)}`, {
        hint: 'See the kernel log (dmesg) for what the filesystem says.',
        cause: error,
      });
  }
}

/** These may still be frozen, and nobody gets them thawed. */
export function stillFrozenError(mountpoints: readonly string[]): FsbackupError {
  return new FsbackupError(
    'thawFailed',
    `${mountpoints.join(', ')} may still be frozen: FITHAW keeps failing`,
    {
      hint: `Run \`fsfreeze --unfreeze ${shellWord(mountpoints[0] ?? '')}\` from another shell, and see the kernel log (dmesg).`,
    },
  );
}

/** This one may still be frozen; `why` is a clause. */
export function thawFailed({ mountpoint }: Pick<FreezeTarget, 'mountpoint'>, why: string): FsbackupError {
  return new FsbackupError('thawFailed', `${mountpoint} may still be frozen: ${why}`, {
    hint: `Run \`${suggested('thaw', ['--force', mountpoint])}\`, and see the kernel log (dmesg).`,
  });
}
