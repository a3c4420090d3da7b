import { FsbackupError } from '../errors.js';
import type { DeviceOutcome, FreezeTarget } from '../freeze/freezer.js';
import type { Plan, PlannedSource, PlannedWindow } from '../plan/plan.js';
import { formatMs } from '../report/format.js';
import type { SnapshotProvider, SnapshotRef } from '../snapshots/provider.js';
import { HangingSnapshotError } from '../snapshots/snapshot-tool.js';
import type { RunContext } from './context.js';
import {
  freezeTarget,
  intendSnapshots,
  prepareWindow,
  windowDevices,
  windowOrigins,
  type PreparedSnapshot,
} from './prepare-window.js';
import { releaseInReverse, type Held } from './release-stack.js';
import { isLocked, retry } from './retry.js';
import { takeWindow, type SnapshotBatch } from './window.js';
import { faultPoint } from '../system/fault-point.js';

/** A snapshot that was taken, and who made it. */
export interface TakenSnapshot {
  provider: SnapshotProvider;
  ref: SnapshotRef;
  /** Its place among what is held. */
  held: Held;
}

function freezeTargets(plan: Plan, window: PlannedWindow): FreezeTarget[] {
  return window.freeze.flatMap((index) => {
    const source = plan.sources[index];
    return source === undefined ? [] : [freezeTarget(source)];
  });
}

function batchesOf(prepared: readonly PreparedSnapshot[]): SnapshotBatch[] {
  const batches = new Map<SnapshotProvider, SnapshotRef[]>();
  for (const { provider, ref } of prepared) batches.set(provider, [...(batches.get(provider) ?? []), ref]);
  return [...batches].map(([provider, refs]) => ({ provider, refs }));
}

/** The outcome of the uppermost device below a source: suspending that one is what stops its writers. */
function topDevice(
  { filesystem }: PlannedSource,
  outcomes: readonly DeviceOutcome[],
): DeviceOutcome | undefined {
  for (const { majorMinor } of filesystem.stack ?? []) {
    const outcome = outcomes.find(({ device }) => device.majorMinor === majorMinor);
    if (outcome !== undefined) return outcome;
  }
  return undefined;
}

/** Another try may end otherwise: what was in the way is likely to pass. */
function isWorthAnotherTry(error: unknown): boolean {
  if (isLocked(error)) return true;
  // The applications wait meanwhile.
  if (error instanceof HangingSnapshotError) return false;
  return error instanceof FsbackupError && (error.code === 'freezeLost' || error.code === 'snapshotFailed');
}

function syncHangs(mountpoints: readonly string[], limitMs: number): FsbackupError {
  return new FsbackupError(
    'notFrozen',
    `what was written to ${mountpoints.join(', ')} is not on its disk after ${formatMs(limitMs)}, so nothing was frozen`,
    {
      hint: 'The applications go on. See the kernel log (dmesg) for a disk that does not answer; one that is slow wants a longer freeze.maxHold.',
    },
  );
}

/** Applications do not wait for a disk without end. */
async function syncSources(
  prepared: readonly PreparedSnapshot[],
  { plan, dependencies, signal }: RunContext,
): Promise<void> {
  const limit = new AbortController();
  const mountpoints = [...new Set(prepared.map(({ source }) => source.mountpoint))];
  const { maxHoldMs } = plan.freeze;
  const timer =
    plan.quiesce.length === 0
      ? undefined
      : setTimeout(() => limit.abort(syncHangs(mountpoints, maxHoldMs)), maxHoldMs);
  const either = AbortSignal.any([signal, limit.signal]);
  try {
    await Promise.all(mountpoints.map((mountpoint) => dependencies.syncFilesystem(mountpoint, either)));
  } finally {
    clearTimeout(timer);
  }
}

/** While nobody waits: what the sync between the applications' rest and the freeze has left to write is little then. */
export async function syncAhead(
  prepared: readonly PreparedSnapshot[],
  { dependencies, signal }: RunContext,
): Promise<void> {
  const mountpoints = new Set(prepared.map(({ source }) => source.mountpoint));
  await Promise.all([...mountpoints].map((mountpoint) => dependencies.syncFilesystem(mountpoint, signal)));
}

async function tryWindow(
  window: PlannedWindow,
  attempt: number,
  prepared: readonly PreparedSnapshot[],
  context: RunContext,
): Promise<Map<number, TakenSnapshot>> {
  const { plan, dependencies, stack, records, signal } = context;
  const { timeline, arm } = dependencies;
  const devices = await windowDevices(window, context);
  const intended = await intendSnapshots(prepared, context);
  try {
    const batches = batchesOf(prepared);
    const early = batchesOf(prepared.filter(({ source }) => source.freezeMode === 'explicit'));
    if (early.some(({ provider }) => provider.makeReady !== undefined)) {
      await timeline.step('make ready', async () => {
        for (const { provider, refs } of early) await provider.makeReady?.(refs, { signal });
      });
    }
    // What is written now need not be written while the writers wait.
    await timeline.step('sync', () => syncSources(prepared, context));
    faultPoint('window.synced');
    const result = await takeWindow(
      {
        targets: freezeTargets(plan, window),
        devices,
        origins: windowOrigins(window, context),
        options: plan.freeze,
        batches,
        ...(plan.quiesce.length === 0 ? {} : { createWithinMs: plan.freeze.maxHoldMs }),
      },
      {
        arm,
        timeline,
        stack,
        warn: context.warn,
        beginning: () => {
          for (const { index } of prepared) records[index]?.begun();
        },
        thawed: (outcome) => {
          for (const { index, source } of prepared) {
            const frozen = outcome.filesystems.find(({ target }) => target.majorMinor === source.majorMinor);
            const suspended = topDevice(source, outcome.devices);
            records[index]?.stalled({ frozen, suspended });
          }
        },
      },
      signal,
    );
    const { startMs, endMs } = result.snapshot;
    const span = { ...timeline.wallSpan(startMs, endMs), durationMs: endMs - startMs };
    const number = plan.windows.indexOf(window);
    for (const { index, ref } of prepared) records[index]?.taken(ref.name, span, number);
    for (const warning of result.warnings) context.note(warning);
    return new Map(intended.map(({ index, provider, ref, held }) => [index, { provider, ref, held }]));
  } catch (error) {
    // Else it stays on the stack until the end of the run: the applications are let go first, and a removal may take long.
    if (attempt < plan.attempts && isWorthAnotherTry(error) && !signal.aborted)
      await releaseInReverse(intended.map(({ held }) => held));
    throw error;
  }
}

/**
 * Takes the snapshots of one window, tried as often as the plan says; `first` are those of the first try. Adds them to
 * `taken`, by index of the plan's sources. Rejects as `takeWindow` does, what the last try may have made being on the stack.
 */
export async function takeSnapshots(
  window: PlannedWindow,
  first: readonly PreparedSnapshot[],
  taken: Map<number, TakenSnapshot>,
  context: RunContext,
): Promise<void> {
  const { plan, dependencies, records, note, signal } = context;
  await retry(
    async (attempt) => {
      for (const { index, source } of first) {
        const inVain = records[index]?.frozenMs ?? null;
        if (inVain !== null)
          note(`${source.mountpoint} was frozen for ${formatMs(inVain)} by a try that failed`);
        records[index]?.tried(attempt);
      }
      const prepared =
        attempt === 1
          ? first
          : await dependencies.timeline.step('prepare', () => prepareWindow(window, attempt, context));
      for (const [index, snapshot] of await tryWindow(window, attempt, prepared, context))
        taken.set(index, snapshot);
    },
    {
      attempts: plan.attempts,
      delayMs: dependencies.retryDelayMs,
      isRetryable: isWorthAnotherTry,
      signal,
    },
  );
}
