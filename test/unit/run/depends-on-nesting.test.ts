import { describe, expect, it } from 'vitest';
import { dependsOnNesting } from '../../../src/run/depends-on-nesting.js';
import type { FilesystemFacts } from '../../../src/snapshots/provider.js';
import { aFilesystem, aJob, aSource } from '../../support/plan-facts.js';

function onLvm(majorMinor: string): FilesystemFacts {
  const device = { name: 'dm-1', majorMinor, backingFile: undefined, dmUuid: 'LVM-abc' };
  return { ...aFilesystem({ majorMinor }), stack: [device] };
}

describe('a plan depends on nested freezes', () => {
  const explicit = aJob({ sources: [aSource({ freezeMode: 'explicit' })] });

  it('where a logical volume is to be frozen by us, or together with others', () => {
    expect(dependsOnNesting(explicit, [onLvm('252:1')])).toBe(true);
    expect(dependsOnNesting(aJob(), [onLvm('252:1'), aFilesystem()])).toBe(true);
  });

  it('and nowhere else', () => {
    expect(dependsOnNesting(aJob(), [onLvm('252:1')])).toBe(false);
    expect(dependsOnNesting(aJob(), [onLvm('252:1'), onLvm('252:1')])).toBe(false);
    expect(dependsOnNesting(explicit, [aFilesystem()])).toBe(false);
    expect(dependsOnNesting(explicit, [aFilesystem(), aFilesystem({ majorMinor: '7:2' })])).toBe(false);
  });
});
