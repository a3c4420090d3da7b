import { expect, it } from 'vitest';
import { mountsOfDestination } from '../../../src/copy/restore/destination-view.js';
import { parseMountinfo } from '../../../src/system/mountinfo.js';

const mounts = parseMountinfo(`21 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
22 21 8:2 /inside /mnt rw,nosuid - ext4 /dev/sda2 rw
23 22 8:3 / /mnt/back/srv/www ro - xfs /dev/sda3 ro
24 22 8:4 / /mnt/back/home rw - ext4 /dev/sda4 rw
25 21 8:5 / /mnt/backup rw - ext4 /dev/sda5 rw`);

function shown(directory: string, ...wanted: string[]): string[] {
  return mountsOfDestination({ directory, wanted }, mounts).map(
    ({ mountpoint, majorMinor, root, options }) => `${mountpoint} ${majorMinor} ${root} ${options.join(',')}`,
  );
}

it('shows a destination by what its filesystem calls it, and what is mounted where something goes', () => {
  const own = '/mnt/back 8:2 /inside/back rw,nosuid';
  const www = '/mnt/back/srv/www 8:3 / ro';
  expect(shown('/mnt/back', '/srv')).toEqual([own, www]);
  expect(shown('/mnt/back', '/srv/www/a', '/etc')).toEqual([own, www]);
  expect(shown('/mnt/back', '/')).toEqual([own, '/mnt/back/home 8:4 / rw', www]);
  expect(shown('/mnt', '/etc')).toEqual(['/mnt 8:2 /inside rw,nosuid']);
  expect(shown('/opt/back', '/srv')).toEqual(['/opt/back 8:1 /opt/back rw,relatime']);
});
