import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { findFreezeTargets } from '../../src/freeze/freeze-targets.js';
import { readFilesystemFacts } from '../../src/system/filesystem-facts.js';
import { describeNeeding } from '../support/capabilities.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

/** What a freeze below blocks, and so must come first: found whatever lies between. */
describeNeeding(
  ['root', 'loop', 'ext4', 'xfs', 'btrfs', 'program:addpart'],
  'a filesystem over another',
  () => {
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
  },
);
