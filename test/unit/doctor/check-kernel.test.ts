import { describe, expect, it } from 'vitest';
import { checkLeftovers, checkLoop, checkNestedFreeze } from '../../../src/doctor/check-kernel.js';
import { aHost } from '../../support/doctor-facts.js';

describe('the check of nested freezes', () => {
  it('says what each verdict means', () => {
    for (const behaviour of ['refuses', 'leaks', 'nests'] as const) {
      const finding = checkNestedFreeze(aHost({ nestedFreeze: { behaviour } }));
      expect(finding.status).toBe('ok');
      expect(finding.summary).toContain(`kernel 6.12.117 ${behaviour}`);
    }
  });

  it('warns where there is LVM and a freeze around lvcreate does harm, or nobody knows', () => {
    const leaks = { nestedFreeze: { behaviour: 'leaks' } } as const;
    const unknown = { nestedFreeze: { behaviour: 'unknown', reason: 'no loop device' } } as const;
    expect(checkNestedFreeze(aHost({ ...leaks, hasLvm: true })).status).toBe('warning');
    expect(checkNestedFreeze(aHost({ ...unknown, hasLvm: true })).status).toBe('warning');
    expect(checkNestedFreeze(aHost(unknown))).toMatchObject({ status: 'ok' });
    expect(checkNestedFreeze(aHost(unknown)).summary).toContain('no loop device');
    expect(checkNestedFreeze(aHost({ nestedFreeze: { behaviour: 'refuses' }, hasLvm: true })).status).toBe(
      'ok',
    );
  });
});

describe('the check of loop devices', () => {
  it('is a problem only where one is needed', () => {
    expect(checkLoop(aHost({ hasLoop: false }), false).status).toBe('ok');
    expect(checkLoop(aHost({ hasLoop: false }), true)).toMatchObject({
      status: 'problem',
      fix: 'modprobe loop',
    });
    expect(checkLoop(aHost(), true).status).toBe('ok');
  });
});

describe('the check of what was left behind', () => {
  const nothing = aHost().leftovers;

  it('finds nothing where there is nothing', () => {
    expect(checkLeftovers(aHost())).toMatchObject([{ status: 'ok' }]);
  });

  it('has a command for each', () => {
    const leftovers = {
      ...nothing,
      suspended: ['vg-srv-real', 'vg-srv'],
      frozen: [
        { mountpoint: '/a', guards: 'alive', owner: 'pid 1 (run)' },
        { mountpoint: '/b', guards: 'stopped', owner: 'pid 2 (run)' },
        { mountpoint: '/c', guards: 'dead', owner: 'pid 3 (run)' },
      ],
      journalled: ['snapshot one of job srv, run x'],
    } as const;
    const findings = checkLeftovers(aHost({ leftovers }));
    expect(findings.map(({ status, fix }) => [status, fix])).toEqual([
      // A resume alone would make a table live that a killed lvcreate left half-made.
      ['problem', 'dmsetup clear vg-srv-real; dmsetup resume vg-srv-real'],
      ['problem', 'dmsetup clear vg-srv; dmsetup resume vg-srv'],
      ['ok', null],
      ['warning', null],
      ['problem', 'fsbackup recover'],
      ['warning', 'fsbackup recover'],
    ]);
  });

  it('tells of what cannot be read', () => {
    const leftovers = { ...nothing, unreadable: ['/x: it is not JSON'], problem: 'EACCES' };
    const findings = checkLeftovers(aHost({ leftovers }));
    expect(findings.map(({ status }) => status)).toEqual(['warning', 'warning']);
    expect(findings.map(({ detail }) => detail)).not.toContain(null);
  });
});
