import { describe, expect, it } from 'vitest';
import { checkTools } from '../../../src/doctor/check-tools.js';
import { collectNeeds } from '../../../src/doctor/examine.js';
import type { Need, ToolState } from '../../../src/doctor/facts.js';
import { aJob } from '../../support/plan-facts.js';

function aTool(overrides: Partial<ToolState> = {}): ToolState {
  return {
    program: 'rsync',
    package: 'rsync',
    need: 'engine rsync',
    isInstalled: true,
    version: '3.2.7',
    unfit: undefined,
    ...overrides,
  };
}

const MISSING = { isInstalled: false, version: undefined };
const NEEDED = new Map<Need, string[]>([
  ['engine rsync', ['job srv', 'job srv']],
  ['the self-test', ['LVM']],
]);

describe('the check of programs', () => {
  it('tells the version of each', () => {
    expect(checkTools([aTool()], NEEDED)).toMatchObject([
      { check: 'tool-rsync', status: 'ok', summary: 'rsync 3.2.7' },
    ]);
  });

  it('is a problem for want of what somebody needs, and names who', () => {
    const [missing] = checkTools([aTool(MISSING)], NEEDED);
    expect(missing).toMatchObject({ status: 'problem', fix: 'apt install rsync' });
    expect(missing?.summary).toContain('(job srv)');
    const unfit = { message: 'rsync 3.0.0 is older than 3.1.3', hint: 'Install a later one.' };
    expect(checkTools([aTool({ unfit })], NEEDED)).toMatchObject([{ status: 'problem', detail: unfit.hint }]);
    expect(checkTools([aTool({ version: undefined })], NEEDED)).toMatchObject([{ status: 'problem' }]);
  });

  it('is none for want of what nobody needs', () => {
    expect(checkTools([aTool(MISSING)], new Map())).toMatchObject([{ status: 'ok', fix: null }]);
  });

  it('warns where only the self-test cannot be made', () => {
    const tool = aTool({ ...MISSING, program: 'mkfs.ext4', package: 'e2fsprogs', need: 'the self-test' });
    expect(checkTools([tool], NEEDED)).toMatchObject([{ status: 'warning', fix: 'apt install e2fsprogs' }]);
  });
});

describe('what is needed', () => {
  it('follows from engines, providers and LVM', () => {
    const job = { job: aJob(), isConfigured: true, isAsked: true };
    const mountpoint = {
      mountpoint: '/srv',
      job: 'srv',
      device: '/dev/loop0',
      fstype: 'ext4',
      stack: [],
      provider: 'reflink',
      freezeMode: 'explicit',
      freezeModeReason: 'so',
      consistency: 'filesystem',
      findings: [],
    } as const;
    expect(Object.fromEntries(collectNeeds([job], [mountpoint], { hasLvm: true }))).toEqual({
      'every run': ['every run'],
      'engine rsync': ['job srv'],
      'provider reflink': ['/srv'],
      'the self-test': ['LVM'],
    });
  });
});
