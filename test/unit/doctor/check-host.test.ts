import { describe, expect, it } from 'vitest';
import {
  checkExpedite,
  checkGuards,
  checkHungTask,
  checkPidNamespace,
  checkPrivilege,
  checkRunDirectory,
  checkStateDirectory,
  type Hold,
} from '../../../src/doctor/check-host.js';
import type { HostState } from '../../../src/doctor/facts.js';
import type { Finding } from '../../../src/doctor/finding.js';
import { aHost, ALL_CAPABILITIES } from '../../support/doctor-facts.js';

const CAP_SYS_ADMIN = 1n << 21n;
const CAP_SYS_RESOURCE = 1n << 24n;

const CHECKS: readonly ((host: HostState) => Finding)[] = [
  checkPrivilege,
  checkPidNamespace,
  checkGuards,
  (host) => checkHungTask(host, []),
  checkExpedite,
  checkRunDirectory,
  checkStateDirectory,
];

describe('the checks of the host', () => {
  it('are all content with a host on which all is well', () => {
    expect(CHECKS.map((check) => check(aHost()).status)).toEqual(CHECKS.map(() => 'ok'));
  });

  it('tell a user from root without the capability', () => {
    expect(checkPrivilege(aHost({ capabilities: 0n, isRoot: false }))).toMatchObject({
      status: 'problem',
      fix: 'sudo fsbackup doctor',
    });
    const inContainer = checkPrivilege(aHost({ capabilities: ALL_CAPABILITIES & ~CAP_SYS_ADMIN }));
    expect(inContainer).toMatchObject({ status: 'problem', fix: null });
    expect(inContainer.summary).toContain('CAP_SYS_ADMIN');
  });

  it('name the capabilities that are lacking, and what for', () => {
    const finding = checkPrivilege(aHost({ capabilities: ALL_CAPABILITIES & ~CAP_SYS_RESOURCE }));
    expect(finding).toMatchObject({ status: 'warning', summary: 'without CAP_SYS_RESOURCE' });
    expect(finding.detail).toMatch(/OOM.*\. Grant them where/);
  });

  it('warn in a PID namespace of a container', () => {
    expect(checkPidNamespace(aHost({ initialPidNamespace: false })).status).toBe('warning');
  });

  it('tell what weakens the watchdogs, and why there are none', () => {
    const weak = checkGuards(
      aHost({ guards: { armed: true, warnings: ['shares its cgroup', 'not hidden'] } }),
    );
    expect(weak).toMatchObject({ status: 'warning', summary: 'shares its cgroup; not hidden' });
    expect(weak.detail).toContain('Grant it');
    const none = checkGuards(aHost({ guards: { armed: false, problem: 'no memfd', hint: 'Make one.' } }));
    expect(none).toMatchObject({ status: 'problem', detail: 'Make one.' });
    expect(none.summary).toContain('no memfd');
  });

  it('compare the hung-task limit with how long a freeze may last', () => {
    expect(checkHungTask(aHost({ hungTaskTimeoutMs: null }), []).status).toBe('ok');
    expect(checkHungTask(aHost({ hungTaskTimeoutMs: 60_000 }), []).status).toBe('ok');
    expect(checkHungTask(aHost({ hungTaskTimeoutMs: 30_000 }), [])).toMatchObject({
      status: 'problem',
      fix: 'sysctl kernel.hung_task_timeout_secs=120',
    });
    expect(checkHungTask(aHost({ hungTaskPanics: true }), [])).toMatchObject({
      status: 'warning',
      fix: 'sysctl kernel.hung_task_panic=0',
    });
  });

  it('compare it with the holds of the jobs, where there are some', () => {
    const holding = (name: string, maxHoldMs: number): Hold => ({
      name,
      freeze: { timeoutMs: null, maxHoldMs },
    });
    const short = [holding('a', 20_000), holding('b', 30_000)];
    expect(checkHungTask(aHost({ hungTaskTimeoutMs: 30_000 }), short).status).toBe('ok');
    const long = [...short, holding('c', 150_500), holding('d', 140_000)];
    expect(checkHungTask(aHost(), long)).toMatchObject({
      status: 'problem',
      summary: 'the kernel warns after 2m, and a freeze of c, d may last 150500ms',
      fix: 'sysctl kernel.hung_task_timeout_secs=151',
    });
  });

  it('warn where a freeze cannot be expedited', () => {
    expect(checkExpedite(aHost({ canExpedite: false }))).toMatchObject({
      status: 'warning',
      detail: expect.stringContaining('/sys') as string,
    });
  });

  it('want the run directory in memory and the state directory on a disk', () => {
    const { runDirectory, stateDirectory } = aHost();
    expect(checkRunDirectory(aHost({ runDirectory: { ...runDirectory, fstype: 'ext4' } })).status).toBe(
      'warning',
    );
    expect(
      checkStateDirectory(aHost({ stateDirectory: { ...stateDirectory, fstype: 'tmpfs' } })).status,
    ).toBe('warning');
  });

  it('want both for root alone', () => {
    const { runDirectory } = aHost();
    const open = checkRunDirectory(aHost({ runDirectory: { ...runDirectory, isPrivate: false } }));
    expect(open).toMatchObject({
      status: 'problem',
      fix: 'chown root /run/fsbackup && chmod go-w /run/fsbackup',
    });
    expect(checkRunDirectory(aHost({ runDirectory: { ...runDirectory, isWritable: false } })).status).toBe(
      'problem',
    );
  });
});
