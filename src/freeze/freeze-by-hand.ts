import { closeSync } from 'node:fs';
import { FsbackupError } from '../errors.js';
import { syncfs } from '../system/native.js';
import { unlessAborted } from '../system/unless-aborted.js';
import { ignoreSignals, withSignals, type SignalSource } from '../system/signals.js';
import { armFreezer, type ArmOptions } from './arm-freezer.js';
import { makeFreezeId } from './freeze-id.js';
import type { FreezeOptions, FreezeOutcome, FreezeTarget } from './freezer.js';
import type { GuardedFreezer } from './guarded-freezer.js';
import { openMount } from './mountpoint.js';
import { thawMountpoints } from './release-by-hand.js';

/** A signal ends the process: the watchdogs thaw then. */
const UNHEARD = new AbortController().signal;

/** Writes what is dirty before the freeze has to: writers then stall a fifth to a twentieth of the time. */
async function syncAll(targets: readonly FreezeTarget[], signal: AbortSignal): Promise<void> {
  await Promise.all(
    targets.map(async ({ mountpoint }) => {
      const { fd } = await openMount(mountpoint);
      await unlessAborted(
        syncfs(fd).finally(() => closeSync(fd)),
        signal,
      );
    }),
  );
}

async function frozen(
  targets: readonly FreezeTarget[],
  options: ArmOptions,
  signal: AbortSignal,
): Promise<GuardedFreezer> {
  await syncAll(targets, signal);
  const freezer = await armFreezer({ targets, devices: [] }, options);
  // A FIFREEZE in flight ends only by itself; what the others froze is thawed meanwhile.
  const thaw = (): void => void freezer.thaw().catch(() => undefined);
  signal.addEventListener('abort', thaw, { once: true });
  try {
    signal.throwIfAborted();
    await freezer.freeze();
    return freezer;
  } catch (error) {
    await freezer.close();
    throw signal.aborted ? signal.reason : error;
  } finally {
    signal.removeEventListener('abort', thaw);
  }
}

/**
 * Thaws what nobody could be told of: who sees an exit code that is not 0 takes it that nothing is frozen. Rejects with what
 * the first thaw that fails has to say, else with `why`.
 */
async function thawUntold(targets: readonly FreezeTarget[], freezeId: string, why: unknown): Promise<never> {
  const names = targets.map(({ mountpoint }) => mountpoint);
  const { failures } = await thawMountpoints(names, { force: false, freezeId });
  throw failures[0] ?? why;
}

function untold(targets: readonly FreezeTarget[]): FsbackupError {
  const names = targets.map(({ mountpoint }) => mountpoint).join(', ');
  return new FsbackupError(
    'failed',
    `nobody could be told of the freeze, so what was frozen is thawed again: ${names}`,
    { hint: 'See what is wrong with what stdout leads to, then freeze again.' },
  );
}

/** A freeze that the watchdogs own. */
export interface DetachedFreeze {
  /** What `reset` and `thaw` know it by, beside the mountpoints. */
  freezeId: string;
  /** When the first of its filesystems is thawed by itself. */
  expiresInMs: number;
  watchdogPids: readonly number[];
  /** What weakens the guarantee here. */
  warnings: readonly string[];
}

/**
 * Freezes all or none, and leaves them frozen in the care of the watchdogs, which thaw them at the deadline. `tell` says so,
 * and resolves to whether that got to where it should. All is thawed again where it did not (rejects with `failed`) and
 * where a signal came before (rejects with that); one that comes later is passed over: what was told holds. Until the
 * watchdogs own the freeze a signal may end the process, which has them thaw.
 */
export async function freezeDetached(
  targets: readonly FreezeTarget[],
  options: FreezeOptions,
  host: { signals: SignalSource; tell: (frozen: DetachedFreeze) => Promise<boolean> },
): Promise<void> {
  const freezeId = makeFreezeId();
  const freezer = await frozen(targets, { ...options, freezeId }, UNHEARD);
  await withSignals(host.signals, async (interrupted) => {
    const { expiresInMs } = await freezer.detach();
    const isTold =
      !interrupted.aborted &&
      (await host.tell({
        freezeId,
        expiresInMs,
        watchdogPids: freezer.watchdogPids,
        warnings: freezer.warnings,
      }));
    if (interrupted.aborted) await thawUntold(targets, freezeId, interrupted.reason);
    if (!isTold) await thawUntold(targets, freezeId, untold(targets));
    ignoreSignals(host.signals);
  });
}

/**
 * Freezes all or none, holds them with a heartbeat while `work` runs, and thaws whatever becomes of it. Rejects with the reason of
 * `signal` when that is aborted before all are frozen; from then on it is `work`'s to hear.
 */
export async function freezeWhile<T>(
  targets: readonly FreezeTarget[],
  options: FreezeOptions,
  work: (freezer: GuardedFreezer) => Promise<T>,
  signal: AbortSignal,
): Promise<{ result: T; outcomes: readonly FreezeOutcome[]; warnings: readonly string[] }> {
  const freezer = await frozen(targets, options, signal);
  try {
    const result = await work(freezer);
    const { filesystems } = await freezer.thaw();
    return { result, outcomes: filesystems, warnings: freezer.warnings };
  } finally {
    await freezer.close();
  }
}
