import { closeSync } from 'node:fs';
import { FsbackupError } from '../errors.js';
import { syncfs } from '../system/native.js';
import { armFreezer } from './arm-freezer.js';
import type { FreezeOptions, FreezeOutcome, FreezeTarget } from './freezer.js';
import type { GuardedFreezer } from './guarded-freezer.js';
import { openMount } from './mountpoint.js';
import { thawMountpoints } from './release-by-hand.js';

/** Writes what is dirty before the freeze has to: writers then stall a fifth to a twentieth of the time. */
async function syncAll(targets: readonly FreezeTarget[]): Promise<void> {
  await Promise.all(
    targets.map(async ({ mountpoint }) => {
      const { fd } = await openMount(mountpoint);
      try {
        await syncfs(fd);
      } finally {
        closeSync(fd);
      }
    }),
  );
}

async function frozen(
  targets: readonly FreezeTarget[],
  options: FreezeOptions & { detachable: boolean },
): Promise<GuardedFreezer> {
  await syncAll(targets);
  const freezer = await armFreezer({ targets, devices: [] }, options);
  try {
    await freezer.freeze();
    return freezer;
  } catch (error) {
    await freezer.close();
    throw error;
  }
}

/**
 * Freezes all or none, and leaves them frozen in the care of the watchdogs, which thaw them at the deadline.
 * Resolves to when the first of them is, the pids of the watchdogs, and what weakens the guarantee here.
 */
export async function freezeDetached(
  targets: readonly FreezeTarget[],
  options: FreezeOptions,
): Promise<{ expiresInMs: number; watchdogPids: readonly number[]; warnings: readonly string[] }> {
  const freezer = await frozen(targets, { ...options, detachable: true });
  const { expiresInMs } = await freezer.detach();
  return { expiresInMs, watchdogPids: freezer.watchdogPids, warnings: freezer.warnings };
}

/**
 * Thaws what nobody could be told of: who sees an exit code that is not 0 takes it that nothing is frozen. Rejects with what
 * the first thaw that fails has to say, else with `failed`.
 */
export async function thawUntold(targets: readonly FreezeTarget[]): Promise<never> {
  const names = targets.map(({ mountpoint }) => mountpoint);
  const { failures } = await thawMountpoints(names, { force: false });
  if (failures.length > 0) throw failures[0];
  throw new FsbackupError(
    'failed',
    `nobody could be told of the freeze, so what was frozen is thawed again: ${names.join(', ')}`,
    { hint: 'See what is wrong with what stdout leads to, then freeze again.' },
  );
}

/** Freezes all or none, holds them with a heartbeat while `work` runs, and thaws whatever becomes of it. */
export async function freezeWhile<T>(
  targets: readonly FreezeTarget[],
  options: FreezeOptions,
  work: (freezer: GuardedFreezer) => Promise<T>,
): Promise<{ result: T; outcomes: readonly FreezeOutcome[]; warnings: readonly string[] }> {
  const freezer = await frozen(targets, { ...options, detachable: false });
  try {
    const result = await work(freezer);
    const { filesystems } = await freezer.thaw();
    return { result, outcomes: filesystems, warnings: freezer.warnings };
  } finally {
    await freezer.close();
  }
}
