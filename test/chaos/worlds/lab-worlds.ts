import { runCommand } from '../../../src/system/run-command.js';
import type { LabPool } from '../../support/lab-pool.js';
import type { LabVolumeGroup } from '../../support/lvm-lab.js';
import { must } from '../../support/throwaway-filesystem.js';
import { changesOf, partsBeside, type World, type WorldParts } from './world.js';

/** Stacks on LVM. `held`: a classic volume whose freeze is ours, where the kernel lets LVM suspend what is frozen. */
export type LvmStack = 'classic' | 'thin' | 'mirror' | 'held';

const SIZE_MIB = { ext4: 96, xfs: 320 } as const;
/** For two volumes of XFS, whose journals alone take 64 MiB each, and what little is written to them. */
const POOL_MIB = 512;
/** Only against hanging. */
const LIMIT_MS = 240_000;

async function makeVolumes(
  stack: LvmStack,
  group: LabVolumeGroup,
): Promise<{ mountpoint: string; beside: string }> {
  const fstype = stack === 'thin' ? 'xfs' : 'ext4';
  const shape = { fstype, sizeMiB: SIZE_MIB[fstype] } as const;
  if (stack === 'mirror') {
    await group.create('--type', 'raid1', '--mirrors', '1', '--size', `${SIZE_MIB.ext4}m`, '--name', 'srv');
    await group.inSync('srv');
    const { mountpoint } = await group.mount('srv', fstype);
    return { mountpoint, beside: (await group.volume({ lv: 'beside', ...shape })).mountpoint };
  }
  if (stack === 'thin') await group.pool('pool', POOL_MIB);
  const pool = stack === 'thin' ? { pool: 'pool' } : {};
  const { mountpoint } = await group.volume({ lv: 'srv', ...shape, ...pool });
  return { mountpoint, beside: (await group.volume({ lv: 'beside', ...shape, ...pool })).mountpoint };
}

/**
 * Fills a thin pool to its last block, by way of a volume of somebody else's. Whoever needs a block then waits for it, for a
 * minute as the kernel has it; what is resolved to gives the blocks back.
 */
async function fillPool(group: LabVolumeGroup): Promise<() => Promise<void>> {
  const ballast = `/dev/${group.vg}/ballast`;
  const status = await must('dmsetup', 'status', `${group.vg.replaceAll('-', '--')}-pool-tpool`);
  // "0 LENGTH thin-pool TRANSACTION USED/TOTAL-metadata USED/TOTAL-data …", data in blocks of 64 KiB
  const [used = 0, total = 0] = (status.split(' ')[5] ?? '').split('/').map(Number);
  const what = ['if=/dev/zero', `of=${ballast}`, 'bs=64K', `count=${total - used}`, 'oflag=direct'];
  await runCommand(['dd', 'status=none', ...what], { timeoutMs: LIMIT_MS });
  return async () => {
    await must('blkdiscard', '--force', ballast);
  };
}

/** A world in a volume group of its own, made for it and otherwise empty; `settings` are the source's further ones. */
export async function lvmWorld(
  stack: LvmStack,
  parts: WorldParts,
  group: LabVolumeGroup,
  settings: Readonly<Record<string, unknown>> = {},
): Promise<World> {
  const name = `lvm-${stack}`;
  const volumes = await makeVolumes(stack, group);
  const provider = stack === 'mirror' ? 'mirror' : 'lvm';
  if (stack === 'thin')
    await group.create('--virtualsize', `${POOL_MIB}m`, '--thinpool', 'pool', '--name', 'ballast');
  return {
    ...(await partsBeside(name, parts, volumes)),
    source: {
      path: volumes.mountpoint,
      snapshot: provider,
      ...(stack === 'held' ? { freezeMode: 'explicit' } : {}),
      ...settings,
    },
    provider,
    freezes: stack === 'mirror' || stack === 'held',
    ...(stack === 'thin' ? { fillStorage: () => fillPool(group) } : {}),
    findLeft: await changesOf(() => group.state()),
    snapshotProgram: stack === 'mirror' || stack === 'held' ? 'lvconvert' : 'lvcreate',
  };
}

/** A world on a dataset of a pool that was made for it. */
export async function zfsWorld(parts: WorldParts, pool: LabPool): Promise<World> {
  const [mountpoint, beside] = [await pool.dataset('srv'), await pool.dataset('beside')];
  return {
    ...(await partsBeside('zfs-dataset', parts, { mountpoint, beside })),
    source: { path: mountpoint, snapshot: 'zfs' },
    provider: 'zfs',
    freezes: false,
    findLeft: await changesOf(() => pool.state()),
    snapshotProgram: 'zfs',
  };
}
