import { expect, it } from 'vitest';
import { FsbackupError } from '../../../src/errors.js';
import { gatherStatus } from '../../../src/run/gather-status.js';

const lost = {
  mountpoint: '/srv',
  device: '/dev/x',
  fstype: 'ext4',
  freezeId: null,
  reason: 'timeout',
  at: 'now',
} as const;

it('shows what is frozen and lost whatever else cannot be read, and tells why that is missing', async () => {
  const damaged = new FsbackupError('cleanupIncomplete', 'x.json is damaged', { hint: 'Remove it.' });
  const { status, unread, failures } = await gatherStatus({
    freezes: async () => ({ frozen: [], lost: [lost] }),
    held: async () => ({ running: [], leftBehind: [] }),
    runs: () => Promise.reject(new Error('EIO')),
    bases: () => Promise.reject(damaged),
    mounts: async () => [],
  });
  const none = { running: [], leftBehind: [], runs: [], bases: [], mounts: [] };
  expect(status).toEqual({ frozen: [], lost: [lost], ...none });
  expect(failures).toEqual([new Error('EIO'), damaged]);
  expect(unread).toEqual(['runs', 'bases']);
});
