import { describe, expect, it } from 'vitest';
import type { FilesystemFacts, SnapshotRef } from '../../../src/snapshots/provider.js';
import { groupIntoCommands, ZfsProvider } from '../../../src/snapshots/zfs-provider.js';
import { refuseZfs } from '../../../src/snapshots/zfs-refusal.js';
import { missingBytes, parseRoom, requireZfsRoom } from '../../../src/snapshots/zfs-room.js';
import type { ZfsVolume } from '../../../src/system/zfs.js';
import { aFilesystem } from '../../support/plan-facts.js';

const MIB = 1024 * 1024;
const DATASET: ZfsVolume = { dataset: 'tank/srv', kind: 'filesystem' };
const ZVOL: ZfsVolume = { dataset: 'tank/vol', kind: 'volume' };

function dataset(zfs: ZfsVolume = DATASET): FilesystemFacts {
  return { ...aFilesystem({ fstype: 'zfs', source: zfs.dataset, majorMinor: '0:50' }), zfs };
}

function onZvol(fstype = 'ext4', superOptions = ['rw']): FilesystemFacts {
  return { ...aFilesystem({ fstype, source: '/dev/zd0', majorMinor: '230:0', superOptions }), zfs: ZVOL };
}

function ref(name: string, of: string): SnapshotRef {
  const data = { dataset: of, kind: 'filesystem', root: '/', run: 'fsbackup-srv-R' };
  return { provider: 'zfs', name, mountpoint: `/${of}`, fstype: 'zfs', takenFrozen: false, data };
}

describe('the ZFS provider', () => {
  it('takes a dataset atomically, and says that its snapshot is written to the pool', () => {
    expect(new ZfsProvider().detect(dataset())).toEqual({
      suits: true,
      freezeModes: ['atomic'],
      reason: expect.stringContaining('atomic'),
      writesTo: ['0:50'],
      together: 'zfs tank',
    });
  });

  it('takes ext4 and XFS on a zvol while they are frozen, and without only when it is asked for', () => {
    for (const fstype of ['ext4', 'xfs']) {
      expect(new ZfsProvider().detect(onZvol(fstype))).toMatchObject({
        freezeModes: ['explicit', 'atomic'],
        writesTo: [],
      });
    }
  });

  it('tells of the filesystem that holds the file that its pool lies in', () => {
    const below = ['254:1'];
    expect(new ZfsProvider().detect({ ...onZvol(), below })).toMatchObject({ writesTo: ['254:1'] });
    expect(new ZfsProvider().detect({ ...dataset(), below })).toMatchObject({ writesTo: ['0:50', '254:1'] });
  });

  it('refuses what has a problem, by the problem, with the way out', () => {
    const problem = { reason: 'its pool tank is SUSPENDED', hint: 'zpool clear tank' };
    expect(new ZfsProvider().detect(dataset({ ...DATASET, problem }))).toEqual({ suits: false, ...problem });
  });

  it.each<[string, FilesystemFacts, RegExp]>([
    ['another filesystem', aFilesystem(), /ext4 on \/dev\/loop1 is no ZFS dataset/],
    ['btrfs on a zvol', onZvol('btrfs'), /has its UUID/],
    ['vfat on a zvol', onZvol('vfat'), /vfat on the zvol tank\/vol is not supported$/],
    ['XFS with its log elsewhere', onZvol('xfs', ['rw', 'logdev=/dev/b']), /log/],
  ])('refuses %s', (_, facts, reason) => {
    expect(refuseZfs(facts)?.reason).toMatch(reason);
  });

  it('gives no way out for what is not its storage: that is another provider’s', () => {
    expect(refuseZfs(aFilesystem())).not.toHaveProperty('hint');
  });
});

describe('the commands of one window', () => {
  it('are one for each pool', () => {
    const refs = [
      ref('s-0', 'tank/srv'),
      ref('s-1', 'tank/srv/db'),
      ref('s-2', 'other/x'),
      ref('s-3', 'tank/v'),
    ];
    const names = groupIntoCommands(refs).map((command) => command.map(({ name }) => name));
    expect(names).toEqual([['s-0', 's-1', 's-3'], ['s-2']]);
  });

  it('take a dataset once each, since ZFS does', () => {
    const refs = [ref('s-0', 'tank/srv'), ref('s-1', 'tank/srv'), ref('s-2', 'tank/db')];
    const names = groupIntoCommands(refs).map((command) => command.map(({ name }) => name));
    expect(names).toEqual([['s-0', 's-2'], ['s-1']]);
  });
});

describe('the room for a snapshot', () => {
  it('is what a refreservation asks for once more', () => {
    const full = { name: 'tank/vol', usedByDataset: 60 * MIB, refReservation: 100 * MIB };
    // 40 of the available are reserved and not yet written: they do not count.
    expect(missingBytes({ ...full, available: 100 * MIB })).toBe(0);
    expect(missingBytes({ ...full, available: 90 * MIB })).toBe(10 * MIB);
    expect(missingBytes({ ...full, available: 0, refReservation: 0 })).toBe(0);
  });

  it('is read from what zfs lists', () => {
    expect(parseRoom('tank/my vol\t100\t50\tnone\n')).toEqual([
      { name: 'tank/my vol', available: 100, usedByDataset: 50, refReservation: 0 },
    ]);
  });

  it('is none for a name that is longer than ZFS allows: refused before any program is asked', async () => {
    const wanted = [{ dataset: `tank/${'d'.repeat(200)}`, name: 'n'.repeat(60) }];
    await expect(requireZfsRoom(wanted)).rejects.toMatchObject({
      code: 'snapshotFailed',
      hint: 'Give the job a shorter name.',
    });
  });
});
