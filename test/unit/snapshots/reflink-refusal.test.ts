import { describe, expect, it } from 'vitest';
import type { FilesystemFacts } from '../../../src/snapshots/provider.js';
import { refuseReflink } from '../../../src/snapshots/reflink-refusal.js';
import type { LoopImage } from '../../../src/system/loop-image.js';
import type { Mount } from '../../../src/system/mountinfo.js';

function mount(fields: Partial<Mount>): Mount {
  return {
    mountId: 30,
    parentId: 1,
    majorMinor: '7:0',
    root: '/',
    mountpoint: '/srv',
    options: ['rw'],
    fstype: 'ext4',
    source: '/dev/loop0',
    superOptions: ['rw'],
    ...fields,
  };
}

const STORAGE = mount({ majorMinor: '254:1', mountpoint: '/images', fstype: 'xfs', source: '/dev/vdb' });
const IMAGE: LoopImage = {
  device: '7:0',
  path: '/images/a.img',
  mount: STORAGE,
  offsetBytes: 0,
  sizeLimitBytes: 0,
};
const LOOP = { name: 'loop0', majorMinor: '7:0', backingFile: '/images/a.img', dmUuid: undefined };

function facts(fields: Partial<FilesystemFacts>): FilesystemFacts {
  return { mount: mount({}), stack: [LOOP], images: [IMAGE], freeBytes: 1, totalBytes: 2, ...fields };
}

describe('refuseReflink', () => {
  it.each(['ext2', 'ext3', 'ext4', 'xfs'])('takes %s in an image on XFS or btrfs', (fstype) => {
    expect(refuseReflink(facts({ mount: mount({ fstype }) }))).toBeUndefined();
    const onBtrfs = { ...IMAGE, mount: { ...STORAGE, fstype: 'btrfs' } };
    expect(refuseReflink(facts({ mount: mount({ fstype }), images: [onBtrfs] }))).toBeUndefined();
  });

  it.each<[string, Partial<FilesystemFacts>, RegExp]>([
    ['nfs', { stack: undefined, mount: mount({ fstype: 'nfs4', source: 'host:/x' }) }, /no block device/],
    ['a partition', { stack: [{ ...LOOP, name: 'vda1', backingFile: undefined }] }, /vda1 is no image file/],
    [
      'dm over a loop device',
      { stack: [{ name: 'dm-0', majorMinor: '253:0', backingFile: undefined, dmUuid: 'LVM-x' }, LOOP] },
      /dm-0 is no image file/,
    ],
    ['btrfs', { mount: mount({ fstype: 'btrfs' }) }, /has its UUID/],
    ['vfat', { mount: mount({ fstype: 'vfat' }) }, /vfat .* not supported/],
    [
      'XFS with its log elsewhere',
      { mount: mount({ fstype: 'xfs', superOptions: ['logdev=/dev/b'] }) },
      /log/,
    ],
    ['an image that cannot be reached', { images: [{ ...IMAGE, mount: undefined }] }, /cannot be reached/],
    ['an image that nobody looked for', { images: [] }, /cannot be reached/],
    ['an image on ext4', { images: [{ ...IMAGE, mount: { ...STORAGE, fstype: 'ext4' } }] }, /lies on ext4/],
    [
      'an image on a read-only mount',
      { images: [{ ...IMAGE, mount: { ...STORAGE, options: ['ro'] } }] },
      /read-only mount \(\/images\)/,
    ],
  ])('refuses %s', (_, fields, reason) => {
    expect(refuseReflink(facts(fields))).toMatch(reason);
  });
});
