import { describe, expect, it } from 'vitest';
import { describeStack } from '../../../src/doctor/describe-stack.js';
import { filesystemsAmong } from '../../../src/doctor/find-filesystems.js';
import { runDirectory } from '../../../src/system/directories.js';
import type { Mount } from '../../../src/system/mountinfo.js';
import { aMount } from '../../support/plan-facts.js';

/** A tree of mounts: the root, and the others below it. */
function mounts(...others: Partial<Mount>[]): Mount[] {
  const root = aMount({ mountId: 1, parentId: 0, mountpoint: '/', majorMinor: '8:1' });
  return [root, ...others.map((other, index) => aMount({ mountId: 10 + index, parentId: 1, ...other }))];
}

describe('the filesystems that could be sources', () => {
  it('lie on a block device, or are btrfs or ZFS', () => {
    const all = mounts(
      { mountpoint: '/srv', majorMinor: '7:1' },
      { mountpoint: '/b', majorMinor: '0:40', fstype: 'btrfs' },
      { mountpoint: '/z', majorMinor: '0:41', fstype: 'zfs' },
      { mountpoint: '/tmp', majorMinor: '0:42', fstype: 'tmpfs' },
      { mountpoint: '/nfs', majorMinor: '0:43', fstype: 'nfs4' },
      { mountpoint: '/boot/efi', majorMinor: '8:2', fstype: 'vfat' },
      { mountpoint: '/snap/x', majorMinor: '7:9', fstype: 'squashfs' },
      { mountpoint: `${runDirectory()}/mnt/srv/0`, majorMinor: '7:8' },
    );
    expect(filesystemsAmong(all)).toEqual(['/', '/b', '/srv', '/z']);
  });

  it('are named once, by the mount that shows most', () => {
    const all = mounts(
      { mountpoint: '/a', majorMinor: '7:1', root: '/sub' },
      { mountpoint: '/srv/longer', majorMinor: '7:1' },
      { mountpoint: '/srv/data/longest', majorMinor: '7:1' },
    );
    expect(filesystemsAmong(all)).toEqual(['/', '/srv/longer']);
  });
});

describe('the stack under a filesystem', () => {
  it('says of each device what it is', () => {
    const device = (name: string, dmUuid?: string, backingFile?: string) => ({
      name,
      majorMinor: '1:1',
      dmUuid,
      backingFile,
    });
    const types = describeStack([
      device('loop0', undefined, '/image'),
      device('dm-0', 'LVM-abc'),
      device('dm-1', 'CRYPT-LUKS2-abc'),
      device('dm-2', 'mpath-1'),
      device('dm-3', 'part1-mpath-1'),
      device('dm-4', 'other'),
      device('md0'),
      device('zd0p1'),
      device('sda'),
      { ...device('sda1'), isPartition: true },
    ]).map(({ type }) => type);
    expect(types).toEqual([
      'loop',
      'lvm',
      'crypt',
      'multipath',
      'partition',
      'device-mapper',
      'raid',
      'zvol',
      'disk',
      'partition',
    ]);
    expect(describeStack(undefined)).toEqual([]);
  });
});
