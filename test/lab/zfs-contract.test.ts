import { afterAll } from 'vitest';
import type { FreezeMode } from '../../src/snapshots/provider.js';
import { providerByName } from '../../src/snapshots/registry.js';
import { snapshotProviderContract } from '../contract/snapshot-provider.js';
import { describeInLab } from '../support/lab.js';
import { LabPool } from '../support/lab-pool.js';
import type { WorldKind } from '../support/snapshot-worlds.js';
import { must } from '../support/throwaway-filesystem.js';

describeInLab({ zfs: true }, 'ZFS', ({ disks }) => {
  const pools: LabPool[] = [];

  // After the contract's own, which undo what they mounted.
  afterAll(async () => {
    for (const pool of pools) await pool.dispose();
  });

  function world(
    title: string,
    freezeMode: FreezeMode,
    origins: (pool: LabPool) => Promise<[string, string]>,
  ): WorldKind {
    return {
      provider: 'zfs',
      title: `zfs: ${title}`,
      needs: ['root'],
      async make() {
        const number = pools.length;
        const pool = await LabPool.make(`lab-contract-${number}`, [disks[number] ?? '']);
        pools.push(pool);
        const mountpoints = await origins(pool);
        const things = async (): Promise<string[]> =>
          (await must('zfs', 'list', '-H', '-t', 'all', '-o', 'name', '-r', pool.pool)).split('\n');
        const own = new Set(await things());
        return {
          mountpoints,
          freezeMode,
          newProvider: () => providerByName('zfs'),
          stored: async () => (await things()).filter((name) => !own.has(name)),
        };
      },
    };
  }

  const kinds = [
    world('a dataset, and a child of it whose name has a space', 'atomic', async (pool) => [
      await pool.dataset('srv'),
      await pool.dataset('srv/my child'),
    ]),
    world('ext4 on a zvol, and on a partition of one', 'explicit', async (pool) => [
      await pool.mountedZvol('whole', 'ext4'),
      await pool.mountedZvol('part', 'ext4', true),
    ]),
    world('XFS on zvols', 'explicit', async (pool) => [
      await pool.mountedZvol('one', 'xfs'),
      await pool.mountedZvol('two', 'xfs'),
    ]),
    world('ext4 and XFS on zvols that nobody freezes', 'atomic', async (pool) => [
      await pool.mountedZvol('ext4', 'ext4'),
      await pool.mountedZvol('xfs', 'xfs'),
    ]),
  ];
  for (const kind of kinds) snapshotProviderContract(kind);
});
