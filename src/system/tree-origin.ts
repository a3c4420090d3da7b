import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import type { FilesystemFacts } from '../snapshots/provider.js';
import { filesystemUuid } from './filesystem-uuid.js';
import { btrfsSubvolume } from './native.js';
import { thisHost } from './this-host.js';
import { runZfs } from './zfs.js';

/** What ZFS itself calls a dataset, whatever its name. */
async function datasetGuid(dataset: string): Promise<string | undefined> {
  const result = await runZfs(['zfs', 'get', '-H', '-p', '-o', 'value', 'guid', dataset]);
  const guid = result.stdout.trim();
  return result.exitCode === 0 && /^\d+$/.test(guid) ? guid : undefined;
}

async function filesystemId({ mount, stack }: FilesystemFacts): Promise<string | undefined> {
  if (mount.fstype !== 'zfs') return await filesystemUuid(stack);
  return await datasetGuid(mount.source);
}

/**
 * Names the tree at `directory` of a mounted filesystem, the live one and not a snapshot of it: the filesystem by what is
 * written in it, the subvolume of a btrfs, and the directory by its inode. Another name: what is there now is no later
 * state of what was there. The same: it is, unless the filesystem was cloned or put back as it lay on its device. What has
 * no such mark (nfs, tmpfs) has the name of what is mounted, and of this host. Rejects when the directory cannot be opened.
 */
export async function treeOrigin(filesystem: FilesystemFacts, directory: string): Promise<string> {
  const { fstype, source, root } = filesystem.mount;
  const id = await filesystemId(filesystem);
  if (id === undefined) {
    const { name, id: host = name } = thisHost();
    return `${fstype} ${source} ${root} of ${host}`;
  }
  const handle = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const { ino } = await handle.stat({ bigint: true });
    const subvolume = fstype === 'btrfs' ? ` subvolume ${btrfsSubvolume(handle.fd).uuid}` : '';
    return `${fstype} ${id}${subvolume} inode ${ino}`;
  } finally {
    await handle.close();
  }
}
