import { describe, expect, it } from 'vitest';
import { parseMountinfo } from '../../../src/system/mountinfo.js';
import { submountsBelow, visibleMounts } from '../../../src/system/submounts.js';

/** A line of mountinfo for each `[id, parent, mountpoint, fstype]`. */
function mountTree(...mounts: [number, number, string, string?][]) {
  const lines = mounts.map(
    ([id, parent, mountpoint, fstype = 'ext4']) =>
      `${id} ${parent} 8:${id} / ${mountpoint} rw,relatime shared:1 - ${fstype} /dev/sd${id} rw`,
  );
  return parseMountinfo(lines.join('\n'));
}

describe('visibleMounts', () => {
  it('leaves out what is covered, hidden by a mount above it, or below a hidden one', () => {
    const mounts = mountTree(
      [20, 1, '/'],
      [21, 20, '/srv'],
      [22, 21, '/srv/a'],
      [23, 22, '/srv/a/b'],
      [24, 21, '/srv/c'],
      [25, 24, '/srv/c'],
      [26, 21, '/srv/d/e'],
      [27, 21, '/srv/d'],
      [28, 20, '/srvb'],
    );
    expect(visibleMounts(mounts).map((mount) => mount.mountId)).toEqual([20, 21, 22, 23, 25, 27, 28]);
  });

  it('hides with a mount over a mountpoint all that was below it, and nothing mounted since', () => {
    const mounts = mountTree(
      [20, 1, '/'],
      [21, 20, '/srv'],
      [22, 21, '/srv/a'],
      [23, 21, '/srv'],
      [24, 23, '/srv/b'],
    );
    expect(visibleMounts(mounts).map((mount) => mount.mountId)).toEqual([20, 23, 24]);
  });

  it('takes a root that is its own parent', () => {
    expect(visibleMounts(mountTree([1, 1, '/'])).map((mount) => mount.mountId)).toEqual([1]);
  });
});

describe('submountsBelow', () => {
  it('leaves out the snapshots that ZFS shows for as long as somebody looks, and no other mount of one', () => {
    const mounts = mountTree(
      [20, 1, '/'],
      [21, 20, '/srv', 'zfs'],
      [22, 21, '/srv/.zfs/snapshot/monday', 'zfs'],
      [23, 21, '/srv/old', 'zfs'],
    );
    expect(submountsBelow(mounts, '/srv').map((mount) => mount.mountpoint)).toEqual(['/srv/old']);
  });

  it('names what is in memory, too, unless everybody takes it for scratch', () => {
    const places = ['/srv/cache', '/home', '/dev/shm', '/run/user/0', '/tmp', '/var/tmp/x', '/sys/fs/cgroup'];
    const memory = places.map((place, index): [number, number, string, string] => [
      30 + index,
      20,
      place,
      index === 1 ? 'ramfs' : 'tmpfs',
    ]);
    const found = submountsBelow(mountTree([20, 1, '/'], ...memory), '/');
    expect(found.map((mount) => mount.mountpoint)).toEqual(['/home', '/srv/cache']);
  });

  it('names disks, networks, FUSE and overlays, and not what lives in the kernel or in memory', () => {
    const mounts = mountTree(
      [20, 1, '/'],
      [21, 20, '/proc', 'proc'],
      [22, 20, '/run', 'tmpfs'],
      [23, 22, '/run/disk', 'xfs'],
      [24, 20, '/nfs', 'nfs4'],
      [25, 20, '/home', 'fuse.gocryptfs'],
      [26, 20, '/merged', 'overlay'],
      [27, 20, '/net', 'autofs'],
    );
    expect(submountsBelow(mounts, '/').map((mount) => mount.mountpoint)).toEqual([
      '/home',
      '/merged',
      '/nfs',
      '/run/disk',
    ]);
    expect(submountsBelow(mounts, '/run/disk')).toEqual([]);
    expect(submountsBelow(mounts, '/ho')).toEqual([]);
  });
});
