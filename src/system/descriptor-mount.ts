import { readFile } from 'node:fs/promises';
import { readMounts, type Mount } from './mountinfo.js';

/**
 * The mount that an open file descriptor of this process lies on, by the mnt_id in its fdinfo: certain where a path
 * is not (a bind mount, an overmount, a rename meanwhile), and independent of st_dev, which differs between the
 * subvolumes of one btrfs. Undefined when the mount is not in this mount namespace or was unmounted lazily.
 */
export async function mountOfDescriptor(fd: number): Promise<Mount | undefined> {
  const fdinfo = await readFile(`/proc/self/fdinfo/${fd}`, 'utf8');
  const mountId = Number(/^mnt_id:\s*(\d+)$/m.exec(fdinfo)?.[1]);
  return (await readMounts()).find((mount) => mount.mountId === mountId);
}
