import { expect, it } from 'vitest';
import { requireOnDisk } from '../../../src/copy/on-disk.js';
import { writtenBelow } from '../../../src/copy/restore/written-filesystems.js';
import { parseMountinfo } from '../../../src/system/mountinfo.js';

const mounts = parseMountinfo(`21 1 8:1 / / rw - ext4 /dev/sda1 rw
22 21 8:3 / /mnt/srv/www rw - xfs /dev/sda3 rw
23 21 0:50 / /mnt/srv/far rw - nfs4 host:/far rw
24 21 0:51 / /mnt/srv/near rw - autofs systemd-1 rw
25 21 8:4 / /mnt/home rw - ext4 /dev/sda4 rw`);

it('holds the destination of a restore, and the disks in it where something is restored to', () => {
  expect(writtenBelow({ directory: '/mnt', wanted: ['/srv'] }, mounts)).toEqual(['/mnt', '/mnt/srv/www']);
  expect(writtenBelow({ directory: '/mnt', wanted: ['/srv/far/x'] }, mounts)).toEqual(['/mnt']);
  expect(writtenBelow({ directory: '/mnt/srv/far', wanted: ['/'] }, mounts)).toEqual(['/mnt/srv/far']);
  expect(writtenBelow({ directory: '/chroot', wanted: ['/'] }, [])).toEqual(['/chroot']);
});

it('says of what may be lost why, and where to look', async () => {
  const held = [
    { sync: () => Promise.resolve() },
    { sync: () => Promise.reject(new Error('EIO: i/o error, syncfs')) },
  ];
  await expect(requireOnDisk(held.slice(0, 1), 'the copy')).resolves.toBeUndefined();
  await expect(requireOnDisk(held, 'the copy')).rejects.toMatchObject({
    code: 'copyFailed',
    message: 'the copy may not be on disk: EIO: i/o error, syncfs',
    hint: expect.stringContaining('dmesg') as unknown,
  });
});
