import { mkdir, open, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { createZfsSendEngine } from '../../src/copy/zfs/zfs-send-engine.js';
import { flipByteOfLargest } from './engine-requests.js';
import { LabPool } from './lab-pool.js';
import type { SendWorld } from './send-harness.js';
import { flipMarker, snapshotter } from './send-worlds.js';
import { SshServer } from './ssh-server.js';
import { must } from './throwaway-filesystem.js';
import { wipeDisks } from './wipe-disks.js';

/** Where the snapshots go: another pool, the same over ssh, or files. */
export type ZfsTarget = 'dataset' | 'ssh' | 'files';

export interface ZfsSendWorld extends SendWorld {
  /** The dataset that receives, and the server in front of it. */
  dataset: string;
  server: SshServer | undefined;
}

const RECEIVED = 'lab-received';
const DATASET = `${RECEIVED}/backups`;
/** As in the configuration of a host: the engine has no options for ssh. */
const HOST = 'lab';

/** Two pools, one of them on a file in an ext4 that takes the restores too. */
async function makePools([disk = '', scratchDisk = '']: readonly string[]): Promise<{
  pool: LabPool;
  there: LabPool;
  scratch: string;
  vdev: string;
}> {
  await wipeDisks([disk, scratchDisk]);
  const pool = await LabPool.make('lab-send', [disk]);
  const scratch = path.join(pool.directory, 'scratch');
  await mkdir(scratch);
  await must('mkfs.ext4', '-q', '-F', scratchDisk);
  await must('mount', scratchDisk, scratch);
  const vdev = path.join(scratch, 'vdev');
  await must('truncate', '--size=600M', vdev);
  const there = await LabPool.make(RECEIVED, [vdev]);
  await must('zfs', 'create', '-o', 'canmount=off', DATASET);
  return { pool, there, scratch, vdev };
}

async function startServer(directory: string): Promise<{ server: SshServer; stop: () => Promise<void> }> {
  const server = await SshServer.start(directory);
  const config = path.join(os.homedir(), '.ssh/config');
  await mkdir(path.dirname(config), { recursive: true, mode: 0o700 });
  await writeFile(config, server.config(HOST), { mode: 0o600 });
  return {
    server,
    stop: async () => {
      await server.stop();
      await rm(config);
    },
  };
}

/** Snapshots of a dataset of ZFS, sent somewhere. */
export async function zfsSendWorld(disks: readonly string[], to: ZfsTarget): Promise<ZfsSendWorld> {
  const { pool, there, scratch, vdev } = await makePools(disks);
  const ssh = to === 'ssh' ? await startServer(path.join(pool.directory, 'sshd')) : undefined;
  const mountpoint = await pool.dataset('srv', 'acltype=posixacl', 'xattr=sa');
  const [exposed, target] = [path.join(pool.directory, 'exposed'), path.join(scratch, 'target')];
  for (const directory of [exposed, target]) await mkdir(directory);
  const repository = ssh === undefined ? DATASET : `ssh://${HOST}/${DATASET}`;
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
    dataset: DATASET,
    server: ssh?.server,
    snapshot: async () => {
      await must('zfs', 'set', 'quota=none', DATASET);
      return await snapshot();
    },
    target,
    smallTarget: async () => {
      small += 1;
      const at = path.join(pool.directory, `small-${small}`);
      await mkdir(at);
      if (to === 'files') {
        const image = path.join(scratch, `small-${small}.img`);
        await must('truncate', '--size=24M', image);
        await must('mkfs.ext4', '-q', '-F', image);
        await must('mount', '-o', 'loop', image, at);
      } else {
        const used = Number(await must('zfs', 'get', '-H', '-p', '-o', 'value', 'used', DATASET));
        await must('zfs', 'set', `quota=${used + 24 * 1024 ** 2}`, DATASET);
      }
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
      await must('zpool', 'export', RECEIVED);
      await flipMarker(vdev, buffer);
      await must('zpool', 'import', '-d', scratch, RECEIVED);
    },
    dispose: async () => {
      await ssh?.stop();
      await there.dispose();
      await pool.dispose();
      await wipeDisks(disks.slice(0, 2));
    },
  };
}
