import { FsbackupError, messageOf } from '../errors.js';
import type {
  ArmFreezer,
  DeviceLossReason,
  Freezer,
  FreezeOptions,
  FreezeTarget,
  GuardedDevice,
  ThawOutcome,
} from '../freeze/freezer.js';
import { placeOf } from '../freeze/guarded-devices.js';
import { formatMs } from '../report/format.js';
import type { CreateOptions, SnapshotProvider, SnapshotRef } from '../snapshots/provider.js';
import { HangingSnapshotError } from '../snapshots/snapshot-tool.js';
import { OriginProbe } from './origin-probe.js';
import type { Held, ReleaseStack } from './release-stack.js';
import type { Timeline } from './timeline.js';
import { faultPoint } from '../system/fault-point.js';

/** The snapshots that one provider takes in one call. */
export interface SnapshotBatch {
  provider: SnapshotProvider;
  refs: readonly SnapshotRef[];
}

export interface WindowRequest {
  /** In the order to freeze: top-down. */
  targets: readonly FreezeTarget[];
  /** What the snapshot commands may suspend. Neither targets nor devices: no dead-man, only snapshots. */
  devices: readonly GuardedDevice[];
  /** Filesystems that a snapshot command freezes by itself: whoever holds one frozen already is to keep it so. */
  origins: readonly FreezeTarget[];
  options: FreezeOptions;
  batches: readonly SnapshotBatch[];
  /** How long snapshots may take that nobody guards: somebody waits for them. Absent: as long as their programs may. */
  createWithinMs?: number;
}

export interface WindowResult {
  /** When the snapshots were taken, by the timeline's clock. What is frozen by us was so all the time in between. */
  snapshot: { startMs: number; endMs: number };
  /** What weakens the dead-man's guarantee here. */
  warnings: readonly string[];
}

export interface WindowDependencies {
  arm: ArmFreezer;
  timeline: Timeline;
  stack: ReleaseStack;
  /** Told after the window. */
  warn: (message: string) => void;
  /** Called when a snapshot is about to be made. Nothing may be written by it. */
  beginning?: () => void;
  /** Told what was frozen and suspended, one outcome per target and device, also where the window fails; after the thaw. */
  thawed?: (outcome: ThawOutcome) => void;
}

/** Resolves when aborted, never rejects. */
async function whenAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) => {
    signal.addEventListener('abort', resolve, { once: true });
  });
}

/** Makes all snapshots, the providers side by side; rejects with the first failure once all have ended. */
async function createAll(batches: readonly SnapshotBatch[], options: CreateOptions): Promise<void> {
  const settled = await Promise.allSettled(
    batches.map(({ provider, refs }) => provider.create(refs, options)),
  );
  const failed = settled.find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}

function lostError({ filesystems, devices }: ThawOutcome): FsbackupError | undefined {
  const lost = new Map<string, DeviceLossReason>();
  for (const outcome of devices) {
    if (outcome.lost === undefined) continue;
    for (const mountpoint of outcome.device.mountpoints) lost.set(mountpoint, outcome.lost);
  }
  for (const { target, lost: reason } of filesystems) {
    if (reason !== undefined) lost.set(target.mountpoint, reason);
  }
  if (lost.size === 0) return undefined;
  const which = [...lost].map(([mountpoint, reason]) => `${mountpoint} (${reason})`).join(', ');
  const hint = [...lost.values()].includes('left-suspended')
    ? 'The snapshot command ended without resuming what it had suspended; run it by hand to see why.'
    : 'Raise the timeout or max-hold if the snapshot needs longer; if a third party thawed it, see what did.';
  return new FsbackupError('freezeLost', `the freeze was lost before the snapshot was complete: ${which}`, {
    hint,
  });
}

/** What the dead-man had to do to volumes. What suspended them died in the middle of its work. */
function resumedWarnings({ devices }: ThawOutcome): string[] {
  return devices
    .filter(({ resumed }) => resumed)
    .map(
      ({ device }) =>
        `the snapshot command left ${device.name} (${placeOf(device)}) suspended; it was resumed, ` +
        `and LVM's state wants a look: see "lvs -a" and "dmsetup table ${device.name}"`,
    );
}

/** What a promise came to, so that several failures can be weighed. */
async function settle<T>(promise: Promise<T>): Promise<PromiseSettledResult<T>> {
  const [result] = await Promise.allSettled([promise]);
  return result;
}

async function withFreeze(
  freezer: Freezer,
  { targets, devices, batches }: WindowRequest,
  { timeline, warn, beginning, thawed }: Omit<WindowDependencies, 'arm' | 'stack'>,
  signal: AbortSignal,
): Promise<WindowResult> {
  const { now } = timeline;
  const freezes = targets.length > 0;
  const stop = AbortSignal.any([signal, freezer.lost]);
  const aborted = whenAborted(stop);
  timeline.windowOpens(freezes ? 'freeze' : 'snapshot');

  // From here to the thaw nothing is written: no step told, no journal, no log.
  const openedAt = now();
  const freezing = settle(freezer.freeze().then(() => faultPoint('window.frozen')));
  await Promise.race([freezing, aborted]);
  const frozenAt = now();
  let creating: Promise<PromiseSettledResult<void>> | undefined;
  if (!stop.aborted && (await freezing).status === 'fulfilled') {
    beginning?.();
    creating = settle(
      createAll(batches, {
        signal: stop,
        ...(devices.length === 0 ? {} : { watchCommand: () => freezer.watchCommand() }),
      }).then(() => faultPoint('window.created')),
    );
    // Not awaited alone: a snapshot that hangs on what is frozen ends with the thaw only.
    await Promise.race([creating, aborted]);
  }
  const createdAt = now();
  const thawing = await settle(freezer.thaw());
  faultPoint('window.thawed');
  const thawedAt = now();

  const failure = whatFailed(thawing, await freezing, await creating, signal);
  const wasFrozen = mayHaveFrozen(thawing, freezes, creating !== undefined);
  timeline.windowClosed(
    [
      ...(freezes ? [{ step: 'freeze', startedAt: openedAt, durationMs: frozenAt - openedAt }] : []),
      ...(freezes && creating === undefined
        ? []
        : [{ step: 'snapshot', startedAt: frozenAt, durationMs: createdAt - frozenAt }]),
      // Of a freeze that was refused there is nothing to thaw.
      ...(wasFrozen ? [{ step: 'thaw', startedAt: createdAt, durationMs: thawedAt - createdAt }] : []),
    ],
    {
      wasFrozen,
      failure:
        failure === undefined
          ? undefined
          : {
              step: failedStep(thawing, !freezes || creating !== undefined),
              message: messageOf(failure.reason),
            },
    },
  );
  const outcome = thawing.status === 'fulfilled' ? thawing.value : { filesystems: [], devices: [] };
  thawed?.(outcome);
  for (const warning of resumedWarnings(outcome)) warn(warning);
  if (failure !== undefined) throw failure.reason;
  return { snapshot: { startMs: frozenAt, endMs: createdAt }, warnings: freezer.warnings };
}

/** Whether anything was frozen in the window, if only for a moment, or may have been: by us, or by a snapshot command. */
function mayHaveFrozen(
  thawing: PromiseSettledResult<ThawOutcome>,
  freezes: boolean,
  wasCreating: boolean,
): boolean {
  if (thawing.status === 'rejected') return true;
  return freezes ? thawing.value.filesystems.length > 0 : wasCreating;
}

/** "thaw failed" is said only of a thaw that did: it means that something may still be frozen. */
function failedStep(thawing: PromiseSettledResult<unknown>, wasFrozen: boolean): string {
  if (thawing.status === 'rejected') return 'thaw';
  return wasFrozen ? 'snapshot' : 'freeze';
}

/** The failure that counts, the gravest first: still frozen, told to stop, lost, never frozen, no snapshot. */
function whatFailed(
  thawing: PromiseSettledResult<ThawOutcome>,
  frozen: PromiseSettledResult<void>,
  created: PromiseSettledResult<void> | undefined,
  signal: AbortSignal,
): { reason: unknown } | undefined {
  if (thawing.status === 'rejected') return thawing;
  if (signal.aborted) return signal;
  const lost = lostError(thawing.value);
  if (lost !== undefined) return { reason: lost };
  if (frozen.status === 'rejected') return frozen;
  return created?.status === 'rejected' ? created : undefined;
}

/** A window in which neither is anything frozen by us nor a device suspended. */
async function withoutFreeze(
  { batches, createWithinMs }: WindowRequest,
  { timeline, beginning }: Omit<WindowDependencies, 'arm' | 'stack'>,
  signal: AbortSignal,
): Promise<WindowResult> {
  const startMs = timeline.now();
  await timeline.step('snapshot', async () => {
    beginning?.();
    const late = createWithinMs === undefined ? undefined : AbortSignal.timeout(createWithinMs);
    const stop = late === undefined ? signal : AbortSignal.any([signal, late]);
    const created = await settle(createAll(batches, { signal: stop }));
    // A snapshot that was cut short fails for that reason, whatever its provider says.
    signal.throwIfAborted();
    if (created.status === 'rejected' && late?.aborted === true) {
      throw new HangingSnapshotError(
        `the snapshot was not made within max-hold (${formatMs(createWithinMs ?? 0)}), the applications being at rest`,
        'See who holds its filesystem frozen (fsbackup status), or raise `maxHold` if it needs longer.',
      );
    }
    if (created.status === 'rejected') throw created.reason;
  });
  return {
    snapshot: { startMs, endMs: timeline.now() },
    warnings: [],
  };
}

/**
 * One try of a window: arm, prove that nobody holds an origin frozen, freeze, snapshot, thaw, and the proof that each
 * freeze was held to the end and that no device was left suspended.
 *
 * Whatever happens, all is thawed first. Rejects with `thawFailed`, the signal's reason, `freezeLost`, `notFrozen`,
 * `locked` or the provider's error; snapshots may then exist, and the caller, who journalled them, removes them.
 */
export async function takeWindow(
  request: WindowRequest,
  { arm, stack, ...told }: WindowDependencies,
  signal: AbortSignal,
): Promise<WindowResult> {
  signal.throwIfAborted();
  const { targets, devices, origins, options } = request;
  const { timeline } = told;
  const isFrozen = targets.length + devices.length > 0;
  const guards: Held[] = [];
  const hold = (guarded: { close(): Promise<void> }): void => {
    guards.unshift(stack.push('the watchdogs', () => guarded.close()));
  };
  try {
    const armAll = async (): Promise<[OriginProbe, Freezer | undefined]> => {
      const probe = await OriginProbe.arm(origins, arm, options);
      hold(probe);
      const freezer = isFrozen ? await arm({ targets, devices }, options) : undefined;
      if (freezer !== undefined) hold(freezer);
      return [probe, freezer];
    };
    const [probe, freezer] =
      isFrozen || origins.length > 0 ? await timeline.step('arm', armAll) : [undefined, undefined];
    faultPoint('window.armed');
    // As late as can be: from here on it is for the snapshot command to find out.
    if (origins.length > 0) await timeline.step('probe', async () => await probe?.probe(signal));
    return freezer === undefined
      ? await withoutFreeze(request, told, signal)
      : await withFreeze(freezer, request, told, signal);
  } finally {
    // A failure stays on the stack and is told at the end of the run.
    for (const guard of guards) await guard.release().catch(() => undefined);
  }
}
