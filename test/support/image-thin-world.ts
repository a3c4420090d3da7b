import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { createImageEngine } from '../../src/copy/image/image-engine.js';
import { flipByteOfLargest } from './engine-requests.js';
import type { SendWorld } from './send-harness.js';
import { LabVolumeGroup } from './lvm-lab.js';
import { snapshotter } from './send-worlds.js';

/** Images of a thin volume of LVM, to files. */
export async function thinImageWorld(disks: readonly string[], fstype: 'ext4' | 'xfs'): Promise<SendWorld> {
  const group = await LabVolumeGroup.make('lab-image', disks.slice(0, 1));
  await group.pool('pool', 800);
  // The smallest that mkfs.xfs takes is 300 MiB.
  const sizeMiB = fstype === 'xfs' ? 320 : 128;
  const origin = await group.volume({ lv: 'origin', fstype, sizeMiB, pool: 'pool' });
  const target = await group.volume({ lv: 'target', fstype: 'ext4', sizeMiB: 400 });
  const scratch = await group.volume({ lv: 'scratch', fstype: 'ext4', sizeMiB: 900 });
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
