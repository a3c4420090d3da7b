import { existsSync } from 'node:fs';
import { runCommand } from '../../src/system/run-command.js';
import { must } from './throwaway-filesystem.js';

const TIMEOUT_MS = 60_000;

async function lines(...argv: [string, ...string[]]): Promise<string[]> {
  const { exitCode, stdout } = await runCommand(argv, { timeoutMs: TIMEOUT_MS });
  return exitCode === 0 ? stdout.split('\n').filter((line) => line.trim() !== '') : [];
}

/** Pools of ZFS that are on one of these disks or their partitions. */
async function poolsOn(disks: readonly string[]): Promise<string[]> {
  if (!existsSync('/dev/zfs')) return [];
  let pool = '';
  const found = new Set<string>();
  for (const line of await lines('zpool', 'list', '-H', '-P', '-v')) {
    const [name = '', device = ''] = line.split('\t');
    if (name !== '') pool = name;
    if (disks.some((disk) => device.startsWith(disk))) found.add(pool);
  }
  return [...found];
}

/** Takes away what a test has left on disks that it failed to clean: mounts, pools, volume groups. */
async function release(disks: readonly string[]): Promise<void> {
  const mounts = await lines('lsblk', '--noheadings', '--raw', '--output', 'MOUNTPOINTS', ...disks);
  for (const mountpoint of mounts.flatMap((line) => line.trim().split(String.raw`\x0a`)).toReversed())
    await runCommand(['umount', mountpoint], { timeoutMs: TIMEOUT_MS });
  for (const pool of await poolsOn(disks))
    await runCommand(['zpool', 'destroy', '-f', pool], { timeoutMs: TIMEOUT_MS });
  const select = disks.map((disk) => `pv_name=${disk}`).join(' || ');
  const groups = await lines('pvs', '--noheadings', '--options', 'vg_name', '--select', select);
  for (const group of new Set(groups.map((line) => line.trim())))
    await runCommand(['vgremove', '--force', '--force', '--yes', group], { timeoutMs: TIMEOUT_MS });
}

/**
 * Makes disks of the lab empty for whoever is next: what is active on them, signatures, and the partitions that a pool
 * of ZFS had there.
 */
export async function wipeDisks(disks: readonly string[]): Promise<void> {
  await release(disks);
  for (const disk of disks) {
    await must('wipefs', '--all', '--force', '--quiet', disk);
    // A disk without partitions is no failure.
    await runCommand(['partx', '--delete', disk], { timeoutMs: 30_000 });
  }
  await must('udevadm', 'settle');
}
