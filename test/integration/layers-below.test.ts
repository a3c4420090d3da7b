import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { findFreezeTargets } from '../../src/freeze/freeze-targets.js';
import { readFilesystemFacts } from '../../src/system/filesystem-facts.js';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const NEEDS = ['root', 'loop', 'ext4', 'xfs'] as const;

/** What a freeze below blocks, and so must come first: found whatever lies between. */
describeNeeding([...NEEDS, 'btrfs', 'program:addpart'], 'a filesystem over another', () => {
  const disks = throwawayDisks(afterAll);
  let outer: ThrowawayFilesystem;

  beforeAll(async () => {
    outer = await disks.filesystem({ fstype: 'xfs', sizeMiB: 800 });
  });

  /** A loop device over an image of that size, in that directory. */
  async function attach(directory: string, name: string, size: string): Promise<string> {
    const image = path.join(directory, name);
    await must('truncate', `--size=${size}`, image);
    // Its partitions end with the detach, and not otherwise.
    return await must('losetup', '--find', '--show', '--partscan', image);
  }

  async function mountpointOf(name: string, device: string): Promise<string> {
    const mountpoint = path.join(disks.directory, name);
    await mkdir(mountpoint);
    await must('mount', device, mountpoint);
    return mountpoint;
  }

  async function expectAbove(inner: string, image: string): Promise<void> {
    const { filesystem } = await readFilesystemFacts(inner);
    expect(filesystem.below).toContain(outer.majorMinor);
    expect(filesystem.images?.map((one) => [one.path, one.mount?.majorMinor])).toContainEqual([
      path.join(outer.mountpoint, image),
      outer.majorMinor,
    ]);
    const targets = await findFreezeTargets([outer.mountpoint, inner], { force: true });
    expect(targets.map(({ mountpoint }) => mountpoint)).toEqual([inner, outer.mountpoint]);
  }

  it('is known for one on a partition of an image', async () => {
    const loop = await attach(outer.mountpoint, 'disk.img', '64M');
    // By hand: not every kernel reads partition tables.
    await must('addpart', loop, '1', '2048', '100000');
    await must('mkfs.ext4', '-q', `${loop}p1`);
    const inner = await mountpointOf('partition', `${loop}p1`);
    await expectAbove(inner, 'disk.img');
    const { filesystem } = await readFilesystemFacts(inner);
    expect(filesystem.stack?.map(({ name }) => `/dev/${name}`)).toEqual([`${loop}p1`, loop]);
  });

  it('is known for a btrfs of several devices, whichever of them is named in its mount', async () => {
    const first = await attach(disks.directory, 'first.img', '200M');
    const second = await attach(outer.mountpoint, 'second.img', '200M');
    await must('mkfs.btrfs', '-q', '-m', 'raid1', '-d', 'raid1', first, second);
    const inner = await mountpointOf('btrfs', first);
    await expectAbove(inner, 'second.img');
    const { filesystem } = await readFilesystemFacts(inner);
    expect(filesystem.mount.source).toBe(first);
    expect(filesystem.stack?.map(({ name }) => `/dev/${name}`)).toEqual([first, second]);
  });
});

describeNeeding(NEEDS, 'an overlay over another filesystem', () => {
  const disks = throwawayDisks(afterAll);
  let outer: ThrowawayFilesystem;
  let inner: ThrowawayFilesystem;
  let lower: string;

  beforeAll(async () => {
    outer = await disks.filesystem({ fstype: 'xfs' });
    inner = await disks.filesystem({ fstype: 'ext4', on: outer });
    lower = path.join(disks.directory, 'lower');
    await mkdir(lower);
  });

  /** Upper and work directory in `directory`, or none. */
  async function overlay(mountpoint: string, lowerdir: string, directory?: string): Promise<string> {
    await mkdir(mountpoint, { recursive: true });
    const options = [`lowerdir=${lowerdir}`];
    if (directory !== undefined) {
      for (const name of ['upper', 'work']) await mkdir(path.join(directory, name), { recursive: true });
      options.push(`upperdir=${directory}/upper`, `workdir=${directory}/work`);
    }
    await must('mount', '-t', 'overlay', '-o', options.join(','), 'overlay', mountpoint);
    return mountpoint;
  }

  async function below(directory: string): Promise<readonly string[]> {
    return (await readFilesystemFacts(directory)).filesystem.below ?? [];
  }

  it('is written to where its upper directory lies, and below that', async () => {
    const merged = await overlay(
      path.join(disks.directory, 'merged'),
      lower,
      path.join(inner.mountpoint, 'an overlay'),
    );
    expect((await below(merged)).slice(0, 2)).toEqual([inner.majorMinor, outer.majorMinor]);
  });

  it('is not written to where its lower directories lie', async () => {
    const merged = path.join(disks.directory, 'read');
    expect(await below(await overlay(merged, `${inner.mountpoint}:${outer.mountpoint}`))).toEqual([]);
  });

  it('is followed where it hides its own upper directory', async () => {
    const directory = path.join(inner.mountpoint, 'hidden');
    await overlay(directory, lower, directory);
    expect((await below(directory)).slice(0, 2)).toEqual([inner.majorMinor, outer.majorMinor]);
  });

  it('may hold no target of a job that freezes that filesystem', async () => {
    const target = await overlay(
      path.join(disks.directory, 'target'),
      lower,
      path.join(inner.mountpoint, 'target'),
    );
    const cli = new FsbackupCli(disks.directory);
    const plan = await cli.plan('--job', 'j', '--source', inner.mountpoint, '--to', target);
    expect([plan.exitCode, plan.stderr]).toEqual([
      20,
      expect.stringContaining(`the target ${target} lies over ${inner.mountpoint}`),
    ]);
  });
});
