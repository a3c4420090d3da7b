import { mkdir, symlink } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, expect, it } from 'vitest';
import type { NestedTree } from '../../src/plan/facts.js';
import { gatherFacts } from '../../src/run/gather-facts.js';
import { describeNeeding } from '../support/capabilities.js';
import { aJob, aSource } from '../support/plan-facts.js';
import { must, ThrowawayDisks } from '../support/throwaway-filesystem.js';

const disks = new ThrowawayDisks();

afterEach(async () => {
  await disks.dispose();
});

function target(directory: string) {
  return { path: directory, engine: 'rsync', mustBeMountpoint: false } as const;
}

function described(nested: readonly NestedTree[]): string[] {
  return nested.map(({ kind, path: where, fstype, filesystem }) =>
    [kind, path.basename(where), fstype, filesystem?.mount.majorMinor ?? '-'].join(' '),
  );
}

describeNeeding(['root', 'loop', 'ext4', 'xfs', 'btrfs'], 'the facts of a host', () => {
  it('tell which filesystem lies on which, also for a target inside it', async () => {
    const lower = await disks.filesystem({ fstype: 'xfs' });
    const upper = await disks.filesystem({ fstype: 'ext4', on: lower });
    const backups = path.join(lower.mountpoint, 'a/directory');
    await mkdir(backups, { recursive: true });
    const facts = await gatherFacts(
      aJob({
        sources: [aSource({ path: upper.mountpoint })],
        targets: [target(backups)],
      }),
    );
    expect(facts.layers[upper.majorMinor]).toContain(lower.majorMinor);
    expect(facts.targets).toMatchObject([
      {
        realPath: backups,
        majorMinor: lower.majorMinor,
        mountpoint: lower.mountpoint,
      },
    ]);
    expect(facts.inUse.map(({ what }) => what)).toContain('the root directory');
  });

  it('resolve a symbolic link to what it leads to, and keep its name', async () => {
    const disk = await disks.filesystem({ fstype: 'ext4' });
    const link = path.join(disks.directory, 'link');
    await mkdir(path.join(disk.mountpoint, 'data'));
    await symlink(path.join(disk.mountpoint, 'data'), link);
    const facts = await gatherFacts(aJob({ sources: [aSource({ path: link })], targets: [] }));
    expect(facts.sources).toMatchObject([
      { path: link, realPath: path.join(disk.mountpoint, 'data'), filesystem: { mount: { fstype: 'ext4' } } },
    ]);
  });

  it('name what is below a source: submounts and nested subvolumes, read only when they are wanted', async () => {
    const disk = await disks.filesystem({ fstype: 'btrfs' });
    const { mountpoint } = disk;
    await must('btrfs', 'subvolume', 'create', path.join(mountpoint, 'nested'));
    await must('btrfs', 'subvolume', 'create', path.join(mountpoint, 'nested/deeper'));
    await must('btrfs', 'subvolume', 'create', path.join(mountpoint, 'cache'));
    const other = await disks.filesystem({ fstype: 'ext4' });
    const submount = path.join(mountpoint, 'submount');
    await mkdir(submount);
    await must('mount', '--bind', other.mountpoint, submount);
    const source = { path: mountpoint, exclude: ['/cache'] };

    const plain = await gatherFacts(aJob({ sources: [aSource(source)], targets: [] }));
    expect(described(plain.sources[0]?.nested ?? [])).toEqual([
      'subvolume nested btrfs -',
      'subvolume deeper btrfs -',
      'submount submount ext4 -',
    ]);

    const recursive = await gatherFacts(
      aJob({ sources: [aSource({ ...source, recursive: true })], targets: [] }),
    );
    expect(described(recursive.sources[0]?.nested ?? [])).toEqual([
      `subvolume nested btrfs ${disk.majorMinor}`,
      `subvolume deeper btrfs ${disk.majorMinor}`,
      `submount submount ext4 ${other.majorMinor}`,
    ]);
  });

  it('are refused for a source or a target that is not there: a plan for it would be a lie', async () => {
    const missing = path.join(disks.directory, 'missing');
    const refusal = { code: 'usage', exitCode: 2, message: `${missing} does not exist` };
    await expect(
      gatherFacts(aJob({ sources: [aSource({ path: missing })], targets: [] })),
    ).rejects.toMatchObject(refusal);
    await expect(gatherFacts(aJob({ sources: [], targets: [target(missing)] }))).rejects.toMatchObject(
      refusal,
    );
  });
});
