import { describe, expect, it } from 'vitest';
import { makePlan } from '../../../src/plan/make-plan.js';
import { copySources } from '../../../src/run/copy-to-target.js';
import {
  aFilesystem,
  aJob,
  aSource,
  fakeDetectors,
  hostFacts,
  sourceFacts,
} from '../../support/plan-facts.js';

/** What a copy of a source on this filesystem leaves out, which is asked to leave out `cache/`. */
function excludesOn(fstype: string): readonly string[] | undefined {
  const job = aJob({ sources: [aSource({ exclude: ['cache/'], snapshot: 'none' })] });
  const facts = hostFacts({ sources: [sourceFacts(aFilesystem({ fstype }))] });
  const plan = makePlan(job, facts, fakeDetectors(), { force: false });
  return copySources(plan, new Map(), new Map())[0]?.exclude;
}

describe('what is copied of a source', () => {
  it.each(['btrfs', 'xfs'])('lacks our own snapshots on %s', (fstype) => {
    expect(excludesOn(fstype)).toEqual(['cache/', '.fsbackup-snapshots/']);
  });

  it.each(['ext4', 'zfs', 'vfat'])('lacks nothing that was not asked for on %s', (fstype) => {
    expect(excludesOn(fstype)).toEqual(['cache/']);
  });
});
