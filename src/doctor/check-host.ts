import { formatDuration } from '../config/duration.js';
import { DEFAULT_MAX_HOLD_MS } from '../config/freeze-settings.js';
import type { JobConfig } from '../config/types.js';
import { PID_NAMESPACE_WARNING } from '../system/pid-namespace.js';
import type { DirectoryState, HostState } from './facts.js';
import { ok, problem, warning, type Finding } from './finding.js';
import { shellWord } from '../system/command-line.js';

/** capabilities(7), and what is lost without each; CAP_SYS_ADMIN has a check of its own. */
const CAPABILITIES: readonly { bit: bigint; name: string; without: string }[] = [
  { bit: 2n, name: 'CAP_DAC_READ_SEARCH', without: 'files that root may not read are left out' },
  { bit: 14n, name: 'CAP_IPC_LOCK', without: 'the watchdogs may be swapped out' },
  { bit: 23n, name: 'CAP_SYS_NICE', without: 'a busy machine may delay the watchdogs' },
  { bit: 24n, name: 'CAP_SYS_RESOURCE', without: 'the OOM killer may choose the watchdogs' },
];
const CAP_SYS_ADMIN = 21n;
/** No command does it: whoever started the container or the unit decides. */
const GRANT =
  'Grant them where this was started (--cap-add of a container, CapabilityBoundingSet= of a unit), or run fsbackup on the host.';
/** kernel.hung_task_timeout_secs of most kernels. */
const USUAL_LIMIT_SECONDS = 120;

function has(capabilities: bigint, bit: bigint): boolean {
  return ((capabilities >> bit) & 1n) === 1n;
}

export function checkPrivilege({ capabilities, isRoot }: HostState): Finding {
  const check = 'root';
  if (!has(capabilities, CAP_SYS_ADMIN)) {
    return problem(
      check,
      isRoot
        ? 'root without CAP_SYS_ADMIN: it can neither freeze nor mount'
        : 'not root: only root can freeze and mount',
      isRoot
        ? { detail: 'In a container, grant it CAP_SYS_ADMIN.' }
        : { detail: 'What follows is what this user can see.', fix: 'sudo fsbackup doctor' },
    );
  }
  const lacking = CAPABILITIES.filter(({ bit }) => !has(capabilities, bit));
  if (lacking.length === 0) return ok(check, 'all capabilities that a run uses');
  return warning(check, `without ${lacking.map(({ name }) => name).join(', ')}`, {
    detail: `${lacking.map(({ name, without }) => `${name}: ${without}`).join('; ')}. ${GRANT}`,
  });
}

export function checkPidNamespace({ initialPidNamespace }: HostState): Finding {
  return initialPidNamespace
    ? ok('pid-namespace', "the machine's own")
    : warning('pid-namespace', PID_NAMESPACE_WARNING, {
        detail: 'Run fsbackup on the host, not in the container.',
      });
}

export function checkGuards({ guards }: HostState): Finding {
  const check = 'watchdogs';
  if (!guards.armed)
    return problem(check, `they cannot be started: ${guards.problem}`, { detail: guards.hint });
  if (guards.warnings.length > 0) {
    return warning(check, guards.warnings.join('; '), {
      detail:
        'A freeze ends all the same while one of them lives. What is lacking is a right of whoever started this: a capability, or /sys/fs/cgroup writable. Grant it, or run fsbackup on the host.',
    });
  }
  return ok(check, 'both started, in cgroups of their own, locked in memory, hidden from the OOM killer');
}

/** What may be frozen for how long, at most. */
export type Hold = Pick<JobConfig, 'name' | 'freeze'>;

/** `jobs`: the configuration's; none: what holds without one is judged. */
export function checkHungTask(
  { hungTaskTimeoutMs, hungTaskPanics }: HostState,
  jobs: readonly Hold[],
): Finding {
  const check = 'hung-task';
  if (hungTaskTimeoutMs === null) return ok(check, 'the kernel watches for no hung tasks');
  const limit = formatDuration(hungTaskTimeoutMs);
  const does = hungTaskPanics ? 'panics' : 'warns';
  const tooLong = jobs.filter(({ freeze }) => freeze.maxHoldMs > hungTaskTimeoutMs);
  const holds = jobs.length === 0 ? [DEFAULT_MAX_HOLD_MS] : tooLong.map(({ freeze }) => freeze.maxHoldMs);
  const longest = Math.max(0, ...holds);
  if (longest > hungTaskTimeoutMs) {
    const of = tooLong.length === 0 ? '' : ` of ${tooLong.map(({ name }) => name).join(', ')}`;
    const enough = Math.max(USUAL_LIMIT_SECONDS, Math.ceil(longest / 1000));
    return problem(
      check,
      `the kernel ${does} after ${limit}, and a freeze${of} may last ${formatDuration(longest)}`,
      {
        detail: `Set freeze.maxHold below ${limit}, or raise kernel.hung_task_timeout_secs: until then such a run is refused.`,
        fix: `sysctl kernel.hung_task_timeout_secs=${enough}`,
      },
    );
  }
  if (hungTaskPanics) {
    return warning(check, `the kernel panics when a writer waits ${limit}`, {
      detail: 'No freeze lasts as long, but a hung disk under one may.',
      fix: 'sysctl kernel.hung_task_panic=0',
    });
  }
  return ok(check, `the kernel warns after ${limit}, longer than any freeze`);
}

export function checkExpedite({ canExpedite }: HostState): Finding {
  return canExpedite
    ? ok('rcu-expedited', "a freeze takes the kernel's short grace periods")
    : warning(
        'rcu-expedited',
        '/sys/kernel/rcu_expedited cannot be written: a freeze takes some 40 ms longer',
        { detail: 'In a container, have /sys mounted read-write, or run fsbackup on the host.' },
      );
}

function checkAccess(
  check: string,
  { existing, isWritable, isPrivate }: DirectoryState,
): Finding | undefined {
  if (!isWritable)
    return problem(check, `${existing} cannot be written to`, { detail: 'Run fsbackup as root.' });
  if (isPrivate) return undefined;
  return problem(check, `others may write to ${existing}`, {
    detail: 'What stands in it decides what root thaws and removes.',
    fix: `chown root ${shellWord(existing)} && chmod go-w ${shellWord(existing)}`,
  });
}

const IN_MEMORY: ReadonlySet<string> = new Set(['tmpfs', 'ramfs']);

export function checkRunDirectory({ runDirectory }: HostState): Finding {
  const check = 'run-directory';
  const denied = checkAccess(check, runDirectory);
  if (denied !== undefined) return denied;
  const { path, fstype } = runDirectory;
  if (IN_MEMORY.has(fstype)) return ok(check, `${path} is in memory (${fstype})`);
  return warning(check, `${path} is on ${fstype}, not in memory`, {
    detail: 'No filesystem that holds it can be frozen. Let FSBACKUP_RUN_DIR name a directory below /run.',
  });
}

export function checkStateDirectory({ stateDirectory }: HostState): Finding {
  const check = 'state-directory';
  const denied = checkAccess(check, stateDirectory);
  if (denied !== undefined) return denied;
  const { path, fstype } = stateDirectory;
  if (!IN_MEMORY.has(fstype)) return ok(check, `${path} is on ${fstype}`);
  return warning(
    check,
    `${path} is in memory (${fstype}): after a reboot nobody knows which snapshots are ours`,
    {
      detail: 'Let FSBACKUP_STATE_DIR name a directory on a disk.',
    },
  );
}
