import { resumeCommand } from '../freeze/guarded-devices.js';
import { suggested } from '../system/command-line.js';
import type { HostState } from './facts.js';
import { ok, problem, warning, type Finding } from './finding.js';

/** What each verdict means for snapshots by LVM. */
const MEANING = {
  refuses: 'refuses a freeze inside a freeze: LVM freezes by itself, and nobody may hold one around lvcreate',
  leaks:
    'leaks a freeze inside a freeze: LVM freezes by itself; a freeze held around lvcreate makes the volume unmountable',
  nests: 'nests freezes: several logical volumes can be snapshotted at one instant',
} as const;

/** The self-test of nested freezes: it matters where there is LVM. */
export function checkNestedFreeze({ nestedFreeze, hasLvm, kernelRelease }: HostState): Finding {
  const check = 'nested-freeze';
  const { behaviour } = nestedFreeze;
  if (behaviour === 'unknown') {
    return (hasLvm ? warning : ok)(check, `not known of kernel ${kernelRelease}: ${nestedFreeze.reason}`, {
      detail: 'LVM freezes by itself then, and several logical volumes are not at one instant.',
    });
  }
  const summary = `kernel ${kernelRelease} ${MEANING[behaviour]}`;
  if (behaviour !== 'leaks' || !hasLvm) return ok(check, summary);
  return warning(check, summary, {
    detail:
      'Keep fsfreeze and `fsbackup freeze` away from lvcreate, or take a kernel with the fix (fe967191e585).',
  });
}

export function checkLoop({ hasLoop }: HostState, isNeeded: boolean): Finding {
  if (hasLoop) return ok('loop', 'loop devices can be attached');
  const summary = '/dev/loop-control cannot be opened: no loop device can be attached';
  return isNeeded
    ? problem('loop', summary, {
        detail: 'A snapshot in an image file is read through one.',
        fix: 'modprobe loop',
      })
    : ok('loop', summary, { detail: 'Needed for filesystems in image files, and for the self-test.' });
}

/** What dead runs left; each with the command that mends it. */
export function checkLeftovers({ leftovers }: HostState): Finding[] {
  const findings: Finding[] = [];
  for (const name of leftovers.suspended) {
    findings.push(
      problem('suspended-device', `the device ${name} is suspended: whoever uses it waits`, {
        detail: 'A snapshot command that was killed leaves it so. See first that none is at work.',
        fix: resumeCommand(name),
      }),
    );
  }
  for (const { mountpoint, guards, owner } of leftovers.frozen) {
    const summary = `${mountpoint} is held frozen by ${owner}`;
    if (guards === 'alive') findings.push(ok('frozen', summary));
    else if (guards === 'stopped')
      findings.push(
        warning('frozen', `${summary}, whose watchdog does not answer`, {
          detail: `It is stopped, or waits for a disk. Where nobody needs that freeze any more, \`${suggested('thaw', [mountpoint])}\` ends it.`,
        }),
      );
    else {
      findings.push(problem('frozen', `${summary}, and its watchdogs are dead`, { fix: 'fsbackup recover' }));
    }
  }
  for (const what of leftovers.journalled) {
    findings.push(warning('left-behind', `a dead run left: ${what}`, { fix: 'fsbackup recover' }));
  }
  for (const file of leftovers.unreadable) {
    findings.push(
      warning('journal', `a journal entry that this version does not understand: ${file}`, {
        detail: 'Have it ended by the version of fsbackup that wrote it (`fsbackup recover`).',
      }),
    );
  }
  if (leftovers.problem !== undefined) {
    findings.push(
      warning('journal', `what dead runs left cannot be read: ${leftovers.problem}`, {
        detail: 'Run fsbackup as root, and see that the state directory can be read.',
      }),
    );
  }
  if (findings.length === 0) findings.push(ok('left-behind', 'nothing of dead runs'));
  return [...findings, ...leftovers.kept.map((what) => ok('kept-snapshot', `kept between runs: ${what}`))];
}
