import { localRepository, type BackupTarget } from '../backup-target.js';
import type { FreezeTarget } from '../freeze/freezer.js';
import type { Plan, PlannedSource } from '../plan/plan.js';
import type { Mount } from '../system/mountinfo.js';
import type { RunContext } from './context.js';
import { freezeTarget, probeOrigins, windowOrigins } from './prepare-window.js';
import { isLocked, retry } from './retry.js';

function mountTarget({ mountpoint, majorMinor, source, fstype }: Mount): FreezeTarget {
  return { mountpoint, majorMinor, device: source, fstype };
}

/** A filesystem that must answer, and whether the plan freezes it. */
interface Needed extends FreezeTarget {
  isFrozenByUs: boolean;
}

async function refuse(filesystem: Needed, context: RunContext): Promise<void> {
  const { dependencies, signal } = context;
  await dependencies.refuseHeld(filesystem);
  // A look costs no program.
  const look = await dependencies.looksFrozen(filesystem);
  if (look === false) return;
  // What is to be frozen anyway may be for an instant more, which tells at once.
  if (look === true && filesystem.isFrozenByUs) await probeOrigins([filesystem], context);
  else await dependencies.requireAnswer(filesystem.mountpoint, { signal });
}

/** What the snapshot of a source writes to, or waits for: its filesystem, and those that hold its images. */
function filesystemsOf(source: PlannedSource): Needed[] {
  if (source.provider === 'none') return [];
  const images = (source.filesystem.images ?? []).flatMap(({ mount }) =>
    mount === undefined ? [] : [mount],
  );
  return [
    ...images.map((mount) => ({ ...mountTarget(mount), isFrozenByUs: false })),
    { ...freezeTarget(source), isFrozenByUs: source.freezeMode === 'explicit' },
  ];
}

/**
 * Before an application is stopped for it, or a thread of ours is: proves that the filesystems which the plan's snapshots
 * write to can be written to. Rejects with `notFrozen` for one that is frozen, or hangs; with `locked` when it is
 * fsbackup that holds it.
 */
export async function refuseUnwritable(context: RunContext): Promise<void> {
  const { plan, dependencies, signal } = context;
  // Those are frozen for an instant instead, see `refuseFrozen`.
  const origins = new Set(
    plan.windows.flatMap((window) => windowOrigins(window, context)).map((one) => one.majorMinor),
  );
  const filesystems = new Map<string, Needed>();
  for (const one of plan.sources.flatMap(filesystemsOf)) {
    if (!origins.has(one.majorMinor)) filesystems.set(one.majorMinor, one);
  }
  await retry(() => Promise.all([...filesystems.values()].map((one) => refuse(one, context))), {
    // Another run that is at it needs a moment.
    attempts: plan.attempts,
    delayMs: dependencies.retryDelayMs,
    isRetryable: isLocked,
    signal,
  });
}

/** What looks at a filesystem, and asks one that looks frozen. */
export interface FrozenLook {
  looksFrozen: (filesystem: FreezeTarget) => Promise<boolean | undefined>;
  requireAnswer: (directory: string) => Promise<unknown>;
}

/**
 * The same without a run, for a plan: what looks frozen is asked, and nothing is frozen for an answer. Rejects with `notFrozen`. What
 * no look tells of, a btrfs say, only the run finds out.
 */
export async function refuseFrozenSources(
  { sources }: Pick<Plan, 'sources'>,
  { looksFrozen, requireAnswer }: FrozenLook,
): Promise<void> {
  const filesystems = new Map(sources.flatMap(filesystemsOf).map((one) => [one.majorMinor, one]));
  for (const one of filesystems.values())
    if ((await looksFrozen(one)) === true) await requireAnswer(one.mountpoint);
}

/**
 * The same of what a target writes to, as far as that is on this host: before anything of ours opens a file there. Rejects
 * with `notFrozen`; what else is wrong with it is for others to say.
 */
export async function refuseUnwritableTarget(
  target: BackupTarget,
  requireAnswer: (directory: string) => Promise<unknown>,
): Promise<void> {
  const directory = target.repository === undefined ? target.path : localRepository(target);
  if (directory !== undefined) await requireAnswer(directory);
}
