import { describe, expect, it } from 'vitest';
import { freezeError } from '../../../src/freeze/freeze-errors.js';

const TARGET = { mountpoint: '/srv', majorMinor: '7:1', device: '/dev/loop1', fstype: 'ext4' };

describe('a FIFREEZE that failed beside somebody else', () => {
  it.each(['EBUSY', 'ECANCELED'])('tells with %s that their freeze was ended, if it was', (code) => {
    const error = Object.assign(new Error(code), { code });
    expect(freezeError(TARGET, error, { endedAnothers: 1 })).toMatchObject({
      code: 'notFrozen',
      message: expect.stringContaining('our thaw ended that freeze') as string,
    });
    expect(freezeError(TARGET, error, { endedAnothers: 0 }).message).not.toContain('ended that freeze');
  });
});
