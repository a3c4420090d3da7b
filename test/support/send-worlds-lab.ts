import { mkdir, open } from 'node:fs/promises';
import path from 'node:path';
import { createImageEngine } from '../../src/copy/image-engine.js';
import { createZfsSendEngine } from '../../src/copy/zfs-send-engine.js';
import { flipByteOfLargest } from './engine-requests.js';
import type { SendWorld } from './send-harness.js';
import { LabVolumeGroup } from './lvm-lab.js';
import { flipMarker, snapshotter } from './send-worlds.js';
import { LabPool } from './lab-pool.js';
import { must } from './throwaway-filesystem.js';
import { wipeDisks } from './wipe-disks.js';

/** Images of a thin volume of LVM, to files. */
export async function thinImageWorld(disks: readonly string[], fstype: 'ext4' | 'xfs'): Promise<SendWorld> {
  const group = await LabVolumeGroup.make('lab-image', disks);
  await group.pool('pool', 1400);
  const origin = await group.volume({ lv: 'origin', fstype, sizeMiB: 400, pool: 'pool' });
  const target = await group.volume({ lv: 'target', fstype: 'ext4', sizeMiB: 1000 });
  const scratch = await group.volume({ lv: 'scratch', fstype: 'ext4', sizeMiB: 2500 });
  const directory = path.join(group.directory, 'exposed');
  await mkdir(directory);
  let small = 0;
  const { mountpoint } = origin;
  return {
    engine: createImageEngine(),
    mountpoint,
    snapshot: snapshotter({ mountpoint, directory }, { name: 'lvm', mode: 'native' }),
    target: target.mountpoint,
    smallTarget: async () => {
      small += 1;
      return (await group.volume({ lv: `small-${small}`, fstype: 'ext4', sizeMiB: 24 })).mountpoint;
    },
    scratch: scratch.mountpoint,
    flipByte: flipByteOfLargest,
    dispose: () => group.dispose(),
  };
}

/** Snapshots of a dataset of ZFS, to another pool (or, over a shell as ssh has it at its end, to that), or to files. */
export async function zfsSendWorld(
  [disk = '', scratchDisk = '']: readonly string[],
  to: 'dataset' | 'ssh' | 'files',
): Promise<SendWorld> {
  await wipeDisks([disk, scratchDisk]);
  const pool = await LabPool.make('lab-send', [disk]);
  const scratch = path.join(pool.directory, 'scratch');
  await mkdir(scratch);
  await must('mkfs.ext4', '-q', '-F', scratchDisk);
  await must('mount', scratchDisk, scratch);
  const vdev = path.join(scratch, 'vdev');
  await must('truncate', '--size=600M', vdev);
  const there = await LabPool.make('lab-received', [vdev]);
  const mountpoint = await pool.dataset('srv', 'acltype=posixacl', 'xattr=sa');
  const [exposed, target] = [path.join(pool.directory, 'exposed'), path.join(scratch, 'target')];
  for (const directory of [exposed, target]) await mkdir(directory);
  const dataset = 'lab-received/backups';
  await must('zfs', 'create', '-o', 'canmount=off', dataset);
  const repository = to === 'ssh' ? `ssh://root@lab/${dataset}` : dataset;
  const settings = { repository, initialise: false, environment: {} };
  const engine = createZfsSendEngine({
    path: target,
    ...(to === 'files' ? {} : { repository: settings }),
  });
  const snapshot = snapshotter({ mountpoint, directory: exposed }, { name: 'zfs', mode: 'atomic' });
  let small = 0;
  return {
    engine,
    mountpoint,
    snapshot: async () => {
      await must('zfs', 'set', 'quota=none', dataset);
      return await snapshot();
    },
    target,
    smallTarget: async () => {
      if (to === 'files') {
        small += 1;
        const [image, at] = [
          path.join(scratch, `small-${small}.img`),
          path.join(pool.directory, `small-${small}`),
        ];
        await mkdir(at);
        await must('truncate', '--size=24M', image);
        await must('mkfs.ext4', '-q', '-F', image);
        await must('mount', '-o', 'loop', image, at);
        return at;
      }
      const used = Number(await must('zfs', 'get', '-H', '-p', '-o', 'value', 'used', dataset));
      await must('zfs', 'set', `quota=${used + 24 * 1024 ** 2}`, dataset);
      const at = path.join(scratch, 'small');
      await mkdir(at);
      return at;
    },
    scratch,
    flipByte: async (dataDirectory) => {
      if (to === 'files') {
        await flipByteOfLargest(dataDirectory);
        return;
      }
      // The content of the live file is that of the backup: both pools store it as it is.
      const handle = await open(path.join(mountpoint, 'large'), 'r');
      const { buffer } = await handle.read({ buffer: Buffer.alloc(64), position: 5 * 1024 * 1024 });
      await handle.close();
      await must('zpool', 'export', 'lab-received');
      await flipMarker(vdev, buffer);
      await must('zpool', 'import', '-d', scratch, 'lab-received');
    },
    dispose: async () => {
      await there.dispose();
      await pool.dispose();
    },
  };
}
