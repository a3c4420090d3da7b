import { setTimeout as sleep } from 'node:timers/promises';
import { FsbackupError } from '../errors.js';
import { stackOf } from '../system/filesystem-stack.js';
import { mountAt } from '../system/mount.js';
import { runCommand } from '../system/run-command.js';
import { readSuspendedDevices } from '../system/suspended-devices.js';
import { listDevices, resumeCommand, type StackedFilesystem } from './guarded-devices.js';

/** Another's program suspends a device for an instant. The guards allow it as long. */
const OTHERS_GRACE_MS = 500;
const COMMAND_TIMEOUT_MS = 30_000;

async function suspendedBelow(filesystems: readonly StackedFilesystem[]): Promise<string[]> {
  const below = new Set((await listDevices(filesystems)).map(({ name }) => name));
  return (await readSuspendedDevices()).filter((name) => below.has(name));
}

/** What it asks of the host, and does to it. */
export interface ResumingHost {
  /** The names of the devices below these that are suspended now, the lowest first. */
  suspendedBelow: (filesystems: readonly StackedFilesystem[]) => Promise<string[]>;
  run: (argv: readonly [string, ...string[]]) => Promise<unknown>;
}

const HOST: ResumingHost = {
  suspendedBelow,
  run: (argv) => runCommand(argv, { timeoutMs: COMMAND_TIMEOUT_MS }),
};

/**
 * Resumes the device-mapper devices below these mountpoints that stay suspended, the lowest first, with the table that
 * they had (decision 12): for what a snapshot program that was killed without a guard left. Idempotent. Rejects with
 * `thawFailed` when one may still be suspended.
 */
export async function resumeDevicesBelow(
  mountpoints: readonly string[],
  host: ResumingHost = HOST,
): Promise<void> {
  const filesystems: StackedFilesystem[] = [];
  for (const mountpoint of mountpoints) {
    const mount = await mountAt(mountpoint);
    if (mount !== undefined) filesystems.push({ mount, stack: await stackOf(mount) });
  }
  const first = await host.suspendedBelow(filesystems);
  if (first.length === 0) return;
  await sleep(OTHERS_GRACE_MS);
  for (const name of await host.suspendedBelow(filesystems)) {
    if (!first.includes(name)) continue;
    for (const verb of ['clear', 'resume']) await host.run(['dmsetup', verb, '--', name]);
  }
  const left = (await host.suspendedBelow(filesystems)).filter((name) => first.includes(name));
  if (left.length === 0) return;
  throw new FsbackupError('thawFailed', `${left.join(', ')} may still be suspended`, {
    hint: `Run "${left.map(resumeCommand).join('; ')}", and look at "lvs -a" and the kernel log (dmesg).`,
  });
}
