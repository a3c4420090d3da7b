import { readdir, readlink } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FsbackupError } from '../errors.js';
import { runAtMost } from './run-at-most.js';

/** udev's helper; it lies beside udev's rules and not on the PATH. */
const ZVOL_ID = ['/usr/lib/udev/zvol_id', '/lib/udev/zvol_id'] as const;
const ANSWER_TIMEOUT_MS = 10_000;
const APPEAR_TIMEOUT_MS = 30_000;
const POLL_MS = 50;
/** udev's link is there by then, where there is udev. */
const LINK_MS = 500;

/** A device of ZFS's own kind, by its kernel name: `zd16`, or a partition of it, `zd16p1`; undefined for others. */
export function parseZvolName(name: string): { disk: string; partition: number | undefined } | undefined {
  const match = /^(zd\d+)(?:p(\d+))?$/.exec(name);
  const [, disk, partition] = match ?? [];
  if (disk === undefined) return undefined;
  return { disk, partition: partition === undefined ? undefined : Number(partition) };
}

/**
 * The zvol behind the disk `zdN`, e.g. `tank/vol`, or `tank/vol@snap`, asked of the kernel: links in /dev/zvol may be
 * of a zvol that is gone. Undefined where nobody can tell.
 */
export async function zvolOfDisk(disk: string): Promise<string | undefined> {
  for (const program of ZVOL_ID) {
    const result = await runAtMost([program, `/dev/${disk}`], { timeoutMs: ANSWER_TIMEOUT_MS });
    if (result.notFound) continue;
    // It writes a plus, which no name can hold, for a space.
    return result.exitCode === 0 ? result.stdout.trim().replaceAll('+', ' ') : undefined;
  }
  return undefined;
}

async function diskByLink(zvol: string): Promise<string | undefined> {
  const target = await readlink(path.join('/dev/zvol', zvol.replaceAll(' ', '+'))).catch(() => undefined);
  const disk = target === undefined ? undefined : path.basename(target);
  return disk !== undefined && (await zvolOfDisk(disk)) === zvol ? disk : undefined;
}

async function diskByScan(zvol: string): Promise<string | undefined> {
  const disks = (await readdir('/sys/block')).filter((name) => name.startsWith('zd'));
  for (const disk of disks) if ((await zvolOfDisk(disk)) === zvol) return disk;
  return undefined;
}

/** Whether the kernel knows the device: partitions come some time after their disk. */
async function isThere(name: string): Promise<boolean> {
  return (await readdir('/sys/class/block')).includes(name);
}

/**
 * The device of a zvol, or of one of its partitions, as a path: waits until it appears, since ZFS makes it after
 * `zfs clone` has returned. Found by udev's link or, on a host without udev, among all. Rejects with `snapshotFailed`.
 */
export async function zvolDevice(zvol: string, partition: number | undefined): Promise<string> {
  const startedMs = performance.now();
  const waitedMs = (): number => performance.now() - startedMs;
  while (waitedMs() < APPEAR_TIMEOUT_MS) {
    const disk = (await diskByLink(zvol)) ?? (waitedMs() > LINK_MS ? await diskByScan(zvol) : undefined);
    if (disk !== undefined) {
      const name = partition === undefined ? disk : `${disk}p${partition}`;
      if (await isThere(name)) return `/dev/${name}`;
    }
    await sleep(POLL_MS);
  }
  throw new FsbackupError('snapshotFailed', `The device of the zvol ${zvol} did not appear`, {
    hint: 'See whether the volmode of its pool, or the module parameter zvol_inhibit_dev, hides the devices of zvols.',
  });
}
