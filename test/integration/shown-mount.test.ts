import { mkdir, symlink } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { readMounts } from '../../src/system/mountinfo.js';
import { shownMount } from '../../src/system/shown-mount.js';
import { must, throwawayDisks } from '../support/throwaway-filesystem.js';

/** The number of a mount is free again some time after its end; mounts until it is another's. Resolves to where they are. */
async function takeNumber(directory: string, number: number): Promise<string[]> {
  const taken: string[] = [];
  while (!(await readMounts()).some(({ mountId }) => mountId === number)) {
    const one = path.join(directory, `takes-${taken.length}`);
    await mkdir(one);
    await must('mount', '-t', 'tmpfs', 'takes', one);
    taken.push(one);
    await sleep(50);
  }
  return taken;
}

describe('the mount that a directory is read through', () => {
  it('is another one, or none, once what was mounted is gone, replaced or covered', async () => {
    const disks = throwawayDisks(onTestFinished);
    const { mountpoint, device } = await disks.filesystem({ fstype: 'ext4' });
    const inside = path.join(mountpoint, 'inside');
    await mkdir(inside);
    const link = path.join(disks.directory, 'link');
    await symlink(inside, link);
    const mounted = await shownMount(inside);
    expect(mounted).toMatch(/^\d+ 7:\d+$/);
    expect(await shownMount(link)).toBe(mounted);

    await must('mount', '-t', 'tmpfs', 'covers', mountpoint);
    await mkdir(inside);
    expect(await shownMount(inside)).not.toBe(mounted);
    await must('umount', mountpoint);
    expect(await shownMount(inside)).toBe(mounted);

    await must('umount', mountpoint);
    expect(await shownMount(inside)).toBeUndefined();
    expect(await shownMount(mountpoint)).not.toBe(mounted);
    await must('mount', '-t', 'tmpfs', 'between', disks.directory);
    await mkdir(mountpoint);
    const taken = await takeNumber(disks.directory, Number.parseInt(mounted ?? '', 10));
    await must('mount', device, mountpoint);
    expect(await shownMount(inside)).not.toBe(mounted);
    await must('umount', mountpoint);
    for (const directory of taken.toReversed()) await must('umount', directory);
    await must('umount', disks.directory);
  });

  it('is none for a subvolume that was deleted below its mount', async () => {
    const disks = throwawayDisks(onTestFinished);
    const { mountpoint } = await disks.filesystem({ fstype: 'btrfs' });
    const subvolume = path.join(mountpoint, 'subvolume');
    const shown = path.join(disks.directory, 'shown');
    await must('btrfs', 'subvolume', 'create', subvolume);
    await mkdir(shown);
    await must('mount', '--bind', subvolume, shown);
    expect(await shownMount(shown)).toBeDefined();
    await must('btrfs', 'subvolume', 'delete', subvolume);
    expect(await shownMount(shown)).toBeUndefined();
  });
});
