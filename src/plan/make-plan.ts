import type { JobConfig } from '../config/types.js';
import { PID_NAMESPACE_WARNING } from '../system/pid-namespace.js';
import { collectSources } from './collect-sources.js';
import type { HostFacts } from './facts.js';
import { describeSteps } from './steps.js';
import type { Plan, PlannedSource, PlannedWindow } from './plan.js';
import { refuseFrozenInUse, refuseTargetInSource, refuseUnsendable } from './refusals.js';
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

function warnOfInstants(sources: readonly PlannedSource[], windows: readonly PlannedWindow[]): string[] {
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
 * Throws FsbackupError: `usage` for a job that cannot be meant, `notFrozen` for a host that cannot do it safely.
 */
export function makePlan(job: JobConfig, facts: HostFacts, detectors: Detectors, options: PlanOptions): Plan {
  refuseTargetInSource(job, facts);
  const { sources, trees, candidates, warnings } = collectSources(job, facts.sources, {
    detectors,
    layers: facts.layers,
    targets: facts.targets,
    detection: { nestedFreeze: facts.nestedFreeze, grouped: isGrouped(job, facts) },
  });
  refuseUnsendable(job, sources);
  const windows = groupIntoWindows(candidates, facts.layers);
  const frozen = windows.flatMap((window) => pick(sources, window.freeze));
  warnings.push(...refuseFrozenInUse(frozen, facts, options.force), ...warnOfInstants(sources, windows));
  if (frozen.length > 0 && !facts.initialPidNamespace) {
    warnings.push(PID_NAMESPACE_WARNING);
  }
  warnings.push(...facts.doubts);
  const { timeoutMs, maxHoldMs } = job.freeze;
  const plan = {
    version: 1,
    job: job.name,
    freeze: { timeoutMs, heartbeatMs: timeoutMs === null ? null : timeoutMs / 2, maxHoldMs },
    attempts: job.attempts,
    consistency: weakest(sources.map((source) => source.consistency)),
    quiesce: job.quiesce,
    sources,
    windows,
    trees,
    targets: job.targets,
    warnings,
  } as const;
  return { ...plan, steps: describeSteps(plan) };
}
