import type { JobConfig } from '../config/types.js';
import { PID_NAMESPACE_WARNING } from '../system/pid-namespace.js';
import { FsbackupError } from '../errors.js';
import { areAtOneInstant, describeInstants } from '../report/instants.js';
import { collectSources, type CollectedSource } from './collect-sources.js';
import { describeUseless } from './excludes.js';
import type { HostFacts } from './facts.js';
import { numberInstants } from './instants.js';
import { describeSteps } from './steps.js';
import type { Plan, PlannedSource, PlannedWindow } from './plan.js';
import {
  refuseFrozenInUse,
  refuseTargetInSource,
  refuseUnlimitable,
  refuseUnsendable,
  refuseUntranslatable,
} from './refusals.js';
import { weakest, type Detectors } from './resolve-mode.js';
import { groupIntoWindows } from './windows.js';

export interface PlanOptions {
  /** Freeze also what fsbackup itself may need: the refusals become warnings. */
  force: boolean;
}

function pick(sources: readonly PlannedSource[], indexes: readonly number[]): PlannedSource[] {
  return indexes.map((index) => {
    const source = sources[index];
    if (source === undefined) throw new Error(`the plan has no source ${index}`);
    return source;
  });
}

/** At which instant each will be. */
function withInstants(
  sources: readonly CollectedSource[],
  windows: readonly PlannedWindow[],
): PlannedSource[] {
  const numbers = numberInstants(
    sources.map(({ freezeMode, together }, index) => {
      const window = windows.findIndex(({ snapshots }) => snapshots.includes(index));
      return { window: window === -1 ? null : window, isHeld: freezeMode === 'explicit', together };
    }),
  );
  return sources.map((source, index) => {
    const planned: PlannedSource & { apart?: string } = { ...source, instant: numbers[index] ?? null };
    delete planned.apart;
    return planned;
  });
}

/** Of sources that would be at one instant on another kernel. Where the storage cannot, the plan says so, and no warning. */
function warnOfApart(collected: readonly CollectedSource[], sources: readonly PlannedSource[]): string[] {
  if (areAtOneInstant(sources.filter(({ provider }) => provider !== 'none'))) return [];
  return collected.flatMap(({ mountpoint, apart }) =>
    apart === undefined ? [] : [`${mountpoint} is not at one instant with the rest of the job: ${apart}`],
  );
}

/** A job that must be at one instant, and cannot be, is not begun. */
function refuseSeveralInstants(
  job: JobConfig,
  sources: readonly PlannedSource[],
  warnings: readonly string[],
): void {
  if (job.mustBeOneInstant !== true || areAtOneInstant(sources)) return;
  const why = warnings.length === 0 ? '' : ` (${warnings.join('; ')})`;
  throw new FsbackupError(
    'usage',
    `The job ${job.name} must be at one instant and cannot be: ${describeInstants(sources)}${why}`,
    {
      hint:
        'Put what belongs together on one filesystem, on one pool of ZFS, or on storage that is frozen for its snapshot; ' +
        'or make jobs of the rest, or leave out `mustBeOneInstant`.',
    },
  );
}

function warnOfWindows(sources: readonly PlannedSource[], windows: readonly PlannedWindow[]): string[] {
  if (windows.length < 2) return [];
  const groups = windows.map((window) =>
    pick(sources, window.snapshots)
      .map((source) => source.mountpoint)
      .join(' with '),
  );
  return [`not at one instant, since a snapshot of one writes to another: ${groups.join(', then ')}`];
}

/** Whether the job snapshots more than one filesystem. */
function isGrouped(job: JobConfig, facts: HostFacts): boolean {
  const snapshotted = job.sources.flatMap((source, index) => {
    const found = facts.sources[index];
    if (found === undefined || source.snapshot === 'none') return [];
    const below = source.recursive ? found.nested.map(({ filesystem }) => filesystem) : [];
    return [found.filesystem, ...below].flatMap((filesystem) => filesystem?.mount.majorMinor ?? []);
  });
  return new Set(snapshotted).size > 1;
}

/**
 * Plans the run of one job: how each source is snapshotted and why, what is frozen together and in which order, and
 * what is not in the backup. Pure: no I/O, the same for the same facts.
 * Throws FsbackupError: `usage` for a job that cannot be meant, or that must be at one instant and cannot be, `notFrozen` for a host that cannot do it safely.
 */
export function makePlan(job: JobConfig, facts: HostFacts, detectors: Detectors, options: PlanOptions): Plan {
  refuseTargetInSource(job, facts);
  refuseUntranslatable(job);
  refuseUnlimitable(job);
  const {
    sources: collected,
    trees,
    candidates,
    leftOut,
    warnings,
  } = collectSources(job, facts.sources, {
    detectors,
    layers: facts.layers,
    targets: facts.targets,
    detection: { nestedFreeze: facts.nestedFreeze, grouped: isGrouped(job, facts) },
  });
  const windows = groupIntoWindows(candidates, facts.layers);
  const sources = withInstants(collected, windows);
  refuseUnsendable(job, sources);
  const apart = [...warnOfApart(collected, sources), ...warnOfWindows(sources, windows)];
  refuseSeveralInstants(job, sources, apart);
  const frozen = windows.flatMap((window) => pick(sources, window.freeze));
  warnings.push(...refuseFrozenInUse(frozen, facts, options.force), ...apart);
  if (frozen.length > 0 && !facts.initialPidNamespace) {
    warnings.push(PID_NAMESPACE_WARNING);
  }
  for (const [index, { path, exclude }] of job.sources.entries()) {
    warnings.push(...describeUseless(exclude, path, facts.sources[index]?.hasOwnPathBelow === true));
  }
  warnings.push(...facts.doubts);
  const { timeoutMs, maxHoldMs } = job.freeze;
  const plan = {
    version: 1,
    job: job.name,
    freeze: { timeoutMs, heartbeatMs: timeoutMs === null ? null : timeoutMs / 2, maxHoldMs },
    attempts: job.attempts,
    consistency: weakest(sources.map((source) => source.consistency)),
    oneInstant: areAtOneInstant(sources),
    mustBeOneInstant: job.mustBeOneInstant === true,
    quiesce: job.quiesce,
    sources,
    windows,
    trees,
    nested: facts.sources.flatMap(({ nested }) => nested.map((tree) => tree.path)),
    ...(leftOut.length === 0 ? {} : { leftOut }),
    targets: job.targets,
    warnings,
  } as const;
  return { ...plan, steps: describeSteps(plan) };
}
