import {
  checkExpedite,
  checkGuards,
  checkHungTask,
  checkPidNamespace,
  checkPrivilege,
  checkRunDirectory,
  checkStateDirectory,
} from './check-host.js';
import { checkLeftovers, checkLoop, checkNestedFreeze } from './check-kernel.js';
import type { JobConfig } from '../config/types.js';
import { checkTargets } from './check-targets.js';
import { checkTools, type Needs } from './check-tools.js';
import { chooseJobs, type ChosenJobs, type DoctorRequest } from './choose-jobs.js';
import { examineJob, type ExaminedJob, type ExaminingHost } from './examine-job.js';
import type { HostState, Need } from './facts.js';
import { renewal } from '../schedule/outdated.js';
import { removalOf } from '../schedule/strays.js';
import { warning, worstStatus, type Finding } from './finding.js';
import type { DoctorReport, MountpointReport } from './report.js';

/** The host as `doctor` looks at it. */
export interface DoctorHost extends ExaminingHost {
  gatherHost: () => Promise<HostState>;
  /** The scheduled jobs that the configuration does not have: see `findStrays`. */
  findStrays: (jobs: readonly JobConfig[], configFlag: string | undefined) => Promise<string[]>;
  /** What is wrong with the units of the schedules: see there. */
  findOutdated: () => Promise<string[]>;
}

const PROVIDER_NEEDS: Readonly<Record<string, Need>> = {
  reflink: 'provider reflink',
  btrfs: 'provider btrfs',
  zfs: 'provider zfs',
  lvm: 'provider lvm',
  mirror: 'provider lvm',
};

/** Which programs are needed, and by whom. Pure. */
export function collectNeeds(
  jobs: readonly ExaminedJob[],
  mountpoints: readonly MountpointReport[],
  host: Pick<HostState, 'hasLvm'>,
): Needs {
  const needs = new Map<Need, string[]>([['every run', ['every run']]]);
  const add = (need: Need, by: string): unknown => needs.set(need, [...(needs.get(need) ?? []), by]);
  for (const { job } of jobs)
    for (const { engine } of job.targets) add(`engine ${engine}`, `job ${job.name}`);
  for (const { provider, mountpoint } of mountpoints) {
    const need = provider === null ? undefined : PROVIDER_NEEDS[provider];
    if (need !== undefined) add(need, mountpoint);
  }
  if (host.hasLvm) add('the self-test', 'LVM');
  return needs;
}

function checkHost(host: HostState, needs: Needs, configured: readonly JobConfig[]): Finding[] {
  return [
    checkPrivilege(host),
    checkPidNamespace(host),
    checkGuards(host),
    checkHungTask(host, configured),
    checkExpedite(host),
    checkNestedFreeze(host),
    checkLoop(host, needs.has('provider reflink')),
    checkRunDirectory(host),
    checkStateDirectory(host),
    ...checkTools(host.tools, needs),
    ...checkLeftovers(host),
  ];
}

/** Of the units alone, whatever the configuration says. */
async function checkUnits({ findOutdated }: DoctorHost): Promise<Finding[]> {
  return (await findOutdated()).map((complaint) => warning('schedule', complaint, { fix: renewal() }));
}

/** Without a configuration that can be read nothing can be said of what it has. */
async function checkSchedules(
  { configured, configuration }: Pick<ChosenJobs, 'configured' | 'configuration'>,
  { configFile }: DoctorRequest,
  { findStrays }: DoctorHost,
): Promise<Finding[]> {
  if (configuration.status === 'problem') return [];
  return (await findStrays(configured, configFile)).map((stray) =>
    warning('schedule', `a timer runs a job that the configuration does not have: ${stray}`, {
      detail: 'Each of its runs fails.',
      fix: removalOf(stray),
    }),
  );
}

/**
 * Looks at the host, and at what a run would do with each filesystem. Changes nothing, and freezes nothing but the
 * self-test's own filesystem. Rejects with `usage` for a path that does not exist.
 */
export async function examine(request: DoctorRequest, doctorHost: DoctorHost): Promise<DoctorReport> {
  const chosen = await chooseJobs(request);
  const { jobs, configured, configuration } = chosen;
  const host = await doctorHost.gatherHost();
  const examined = await Promise.all(jobs.map((job) => examineJob(job, doctorHost)));
  const targets = await Promise.all(jobs.map(({ job }) => checkTargets(job)));
  const mountpoints = examined.flatMap((one) => one.mountpoints);
  return {
    version: 1,
    findings: [
      ...checkHost(host, collectNeeds(jobs, mountpoints, host), configured),
      configuration,
      ...(await checkSchedules(chosen, request, doctorHost)),
      ...(await checkUnits(doctorHost)),
      ...targets.flat(),
      ...examined.flatMap(({ findings }) => findings),
    ],
    mountpoints,
  };
}

/** 0 when all is well, 3 with warnings, 1 with problems. */
export function doctorExitCode({ findings, mountpoints }: DoctorReport): number {
  const all = [...findings, ...mountpoints.flatMap((one) => one.findings)];
  return { ok: 0, warning: 3, problem: 1 }[worstStatus(all)];
}
