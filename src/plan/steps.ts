import { describeKeep } from '../config/describe-keep.js';
import { targetName } from '../backup-target.js';
import { describeLimit } from '../report/format.js';
import type { Plan, PlannedFreeze, PlannedSource, PlannedStep, PlannedWindow } from './plan.js';

function seconds(ms: number): string {
  return `${ms / 1000} s`;
}

/** The dead-man's times in one clause. */
export function describeFreezeTimes({ timeoutMs, heartbeatMs, maxHoldMs }: PlannedFreeze): string {
  const cap = `max-hold ${seconds(maxHoldMs)}`;
  if (timeoutMs === null || heartbeatMs === null) return `no timeout, ${cap}`;
  return `timeout ${seconds(timeoutMs)}, reset every ${seconds(heartbeatMs)}, ${cap}`;
}

function mountpoints(plan: Pick<Plan, 'sources'>, indexes: readonly number[]): string {
  return indexes.map((index) => plan.sources[index]?.mountpoint ?? '').join(', ');
}

/** Whether its snapshot suspends a device-mapper device, which the dead-man then watches. */
function suspends(source: PlannedSource | undefined): boolean {
  const stack = source?.filesystem.stack ?? [];
  return source?.freezeMode === 'native' && stack.some((device) => device.dmUuid !== undefined);
}

function windowSteps(plan: Omit<Plan, 'steps'>, window: PlannedWindow): PlannedStep[] {
  const frozen = window.freeze.length > 0;
  const all = mountpoints(plan, window.snapshots);
  const providers = [...new Set(window.snapshots.map((index) => plan.sources[index]?.provider ?? ''))];
  const snapshot = { step: 'snapshot', detail: `${all} by ${providers.join(', ')}`, frozen };
  const sync = { step: 'sync', detail: all, frozen: false };
  const origins = window.snapshots.filter((index) => suspends(plan.sources[index]));
  const proof = `${mountpoints(plan, origins)}: each frozen for an instant, which shows that nobody else holds it so`;
  const probe = origins.length === 0 ? [] : [{ step: 'probe', detail: proof, frozen: false }];
  if (!frozen && origins.length === 0) return [sync, snapshot];
  const times = describeFreezeTimes(plan.freeze);
  if (!frozen) {
    return [
      sync,
      ...probe,
      { ...snapshot, detail: `${snapshot.detail}, which freeze by themselves; ${times}`, frozen: true },
      { step: 'thaw', detail: 'proof that no device is left suspended', frozen: true },
    ];
  }
  const together = mountpoints(plan, window.freeze);
  return [
    sync,
    ...probe,
    { step: 'freeze', detail: `${together}; ${times}`, frozen: true },
    snapshot,
    { step: 'thaw', detail: mountpoints(plan, window.freeze.toReversed()), frozen: true },
  ];
}

function step(name: string, detail: string): PlannedStep {
  return { step: name, detail, frozen: false };
}

/** The timeline of a run, in words. */
export function describeSteps(plan: Omit<Plan, 'steps'>): PlannedStep[] {
  const snapshotted = plan.sources.filter((source) => source.provider !== 'none');
  const all = snapshotted.map((source) => source.mountpoint).join(', ');
  const hooks = plan.quiesce.map((hook) => hook.name);
  return [
    step('lock', [`job ${plan.job}`, ...plan.targets.map(targetName)].join(', ')),
    step('recover', 'what dead runs left'),
    step('preflight', plan.targets.map((target) => `${target.engine} to ${targetName(target)}`).join(', ')),
    ...(hooks.length === 0 ? [] : [step('quiesce', hooks.join(', '))]),
    ...plan.windows.flatMap((window) => windowSteps(plan, window)),
    ...(hooks.length === 0 ? [] : [step('unquiesce', hooks.toReversed().join(', '))]),
    ...(snapshotted.length === 0 ? [] : [step('expose', `${all}, read-only`)]),
    ...plan.targets.map((target) =>
      step(
        'copy',
        `${plan.trees.map((tree) => tree.path).join(', ')} to ${targetName(target)} by ${target.engine}${describeLimit(target)}`,
      ),
    ),
    ...(snapshotted.length === 0 ? [] : [step('remove', `the snapshots of ${all}`)]),
    ...plan.targets.flatMap((target) =>
      target.keep === undefined
        ? []
        : [step('retention', `in ${targetName(target)}: keep ${describeKeep(target.keep)}`)],
    ),
    step('record', 'in the history'),
  ];
}
