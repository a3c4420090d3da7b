import type { FreezeTarget, GuardedDevice } from '../freeze/freezer.js';
import type { Plan, PlannedSource, PlannedWindow } from '../plan/plan.js';
import type { SnapshotProvider, SnapshotRef } from '../snapshots/provider.js';
import type { RunContext } from './context.js';
import { OriginProbe } from './origin-probe.js';
import { releaseSnapshot } from './release-snapshot.js';
import type { Held } from './release-stack.js';
import { isLocked, retry } from './retry.js';
import { faultPoint } from '../system/fault-point.js';

/** A snapshot of a window, named and not yet made. */
export interface PreparedSnapshot {
  /** Into the plan's sources. */
  index: number;
  source: PlannedSource;
  provider: SnapshotProvider;
  ref: SnapshotRef;
}

/** Each try has names of its own: what an earlier one left cannot be mistaken for its snapshot. */
function snapshotName(plan: Plan, runId: string, index: number, attempt: number): string {
  return `fsbackup-${plan.job}-${runId}-${index}${attempt === 1 ? '' : `-try${attempt}`}`;
}

/** The window's sources by provider: one provider object per kind and set of commands makes all of its snapshots. */
function groupSources(window: PlannedWindow, { plan, dependencies }: RunContext) {
  const groups = new Map<string, { provider: SnapshotProvider; members: [number, PlannedSource][] }>();
  for (const index of window.snapshots) {
    const source = plan.sources[index];
    if (source === undefined || source.provider === 'none') continue;
    const key = JSON.stringify([source.provider, source.commands]);
    const known = groups.get(key);
    if (known !== undefined) known.members.push([index, source]);
    else {
      const provider = dependencies.provider(source.provider, source.commands);
      groups.set(key, { provider, members: [[index, source]] });
    }
  }
  return [...groups.values()];
}

/** Proves that a window's snapshots can be made and names them. Rejects as the providers' `prepare` does. */
export async function prepareWindow(
  window: PlannedWindow,
  attempt: number,
  context: RunContext,
): Promise<PreparedSnapshot[]> {
  const prepared: PreparedSnapshot[] = [];
  for (const { provider, members } of groupSources(window, context)) {
    const refs = await provider.prepare(
      members.map(([index, source]) => ({
        filesystem: source.filesystem,
        name: snapshotName(context.plan, context.runId, index, attempt),
        freezeMode: source.freezeMode,
        runId: context.runId,
        ...(source.lvm === undefined ? {} : { lvm: source.lvm }),
      })),
    );
    if (provider.abandon !== undefined) {
      context.stack.push(`what was prepared for ${refs.map(({ name }) => name).join(', ')}`, async () => {
        for (const ref of refs) await provider.abandon?.(ref);
      });
    }
    for (const [position, [index, source]] of members.entries()) {
      const ref = refs[position];
      if (ref === undefined) throw new Error(`${provider.name} prepared ${refs.length} of ${members.length}`);
      prepared.push({ index, source, provider, ref });
    }
  }
  return prepared;
}

/**
 * The devices that the window's snapshot commands may suspend, and the dead-man may have to resume. An `atomic` snapshot
 * suspends none. Rejects with `notFrozen` when one is suspended already.
 */
export async function windowDevices(
  window: PlannedWindow,
  { plan, dependencies }: RunContext,
): Promise<GuardedDevice[]> {
  const filesystems = window.snapshots.flatMap((index) => {
    const source = plan.sources[index];
    return source?.freezeMode === 'native' || source?.freezeMode === 'explicit' ? [source.filesystem] : [];
  });
  return await dependencies.guardedDevices(filesystems);
}

/** A source as a freeze names it. */
export function freezeTarget({ mountpoint, majorMinor, device, fstype }: PlannedSource): FreezeTarget {
  return { mountpoint, majorMinor, device, fstype };
}

/**
 * The filesystems of a window that a snapshot command freezes by itself, through device-mapper, each once. Within a freeze
 * of somebody else the command fails, or its snapshot is made and the filesystem can never be mounted again (decision 9).
 */
export function windowOrigins(window: PlannedWindow, { plan }: Pick<RunContext, 'plan'>): FreezeTarget[] {
  const frozen = new Set(window.freeze.map((index) => plan.sources[index]?.majorMinor));
  const origins = new Map<string, FreezeTarget>();
  for (const index of window.snapshots) {
    const source = plan.sources[index];
    const isOnMapper = source?.filesystem.stack?.some(({ dmUuid }) => dmUuid !== undefined) === true;
    if (source?.freezeMode !== 'native' || !isOnMapper || frozen.has(source.majorMinor)) continue;
    origins.set(source.majorMinor, freezeTarget(source));
  }
  return [...origins.values()];
}

/**
 * Before an application is stopped for it: proves that nobody holds an origin of the window frozen. Rejects with
 * `notFrozen`, or `locked` when it is fsbackup that does.
 */
export async function refuseFrozen(window: PlannedWindow, context: RunContext): Promise<void> {
  const { plan, dependencies, signal } = context;
  const origins = windowOrigins(window, context);
  if (origins.length === 0) return;
  await retry(
    () => probeOrigins(origins, context),
    // Another run that is at it needs a moment.
    { attempts: plan.attempts, delayMs: dependencies.retryDelayMs, isRetryable: isLocked, signal },
  );
}

/** Looks, and where that does not tell, freezes each for an instant. Rejects as `refuseFrozen`, at the first try. */
export async function probeOrigins(
  origins: readonly FreezeTarget[],
  { plan, dependencies, signal }: RunContext,
): Promise<void> {
  const probe = await OriginProbe.arm(origins, dependencies.arm, plan.freeze);
  try {
    // A look costs the writers nothing. Where it does not tell, what is written now need not be while they wait.
    const looks = await Promise.all(origins.map(dependencies.looksFrozen));
    if (looks.every((look) => look === false)) return;
    for (const { mountpoint } of origins) await dependencies.syncFilesystem(mountpoint, signal);
    await probe.probe(signal);
  } finally {
    await probe.close();
  }
}

/** A snapshot that exists, or may. */
export type IntendedSnapshot = PreparedSnapshot & { held: Held };

/** Writes the intents and registers the releases: once this began, the snapshots count as held. */
export async function intendSnapshots(
  prepared: readonly PreparedSnapshot[],
  { plan, dependencies, stack }: RunContext,
): Promise<IntendedSnapshot[]> {
  const intended: IntendedSnapshot[] = [];
  for (const snapshot of prepared) {
    const { provider, ref } = snapshot;
    const entry = await dependencies.journal.record('snapshot', { ...ref, data: { ...ref.data } });
    const held = stack.push(`the snapshot ${ref.name}`, async () => {
      await releaseSnapshot(plan.job, ref, provider, dependencies.bases);
      faultPoint('snapshot.released');
      await entry.remove();
    });
    faultPoint('snapshot.intended');
    intended.push({ ...snapshot, held });
  }
  return intended;
}
