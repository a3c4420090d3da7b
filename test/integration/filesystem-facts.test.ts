import { mkdir, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { nestedSubvolumes } from '../../src/snapshots/nested-subvolumes.js';
import { readFilesystemFacts } from '../../src/system/filesystem-facts.js';
import { readMounts } from '../../src/system/mountinfo.js';
import { submountsBelow } from '../../src/system/submounts.js';
import { describeNeeding } from '../support/capabilities.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

describeNeeding(['root', 'loop', 'ext4', 'xfs', 'btrfs'], 'the facts of a filesystem', () => {
  const disks = throwawayDisks(afterAll);
  let outer: ThrowawayFilesystem;
  let inner: ThrowawayFilesystem;
  let btrfs: ThrowawayFilesystem;

  beforeAll(async () => {
    outer = await disks.filesystem({ fstype: 'xfs' });
    inner = await disks.filesystem({ fstype: 'ext4', on: outer });
    btrfs = await disks.filesystem({ fstype: 'btrfs', on: outer });
    await mkdir(path.join(inner.mountpoint, 'tree/deep'), { recursive: true });
    await must('btrfs', 'subvolume', 'create', path.join(btrfs.mountpoint, 'vol'));
    await must('btrfs', 'subvolume', 'create', path.join(btrfs.mountpoint, 'vol/nested'));
    await must('btrfs', 'subvolume', 'create', path.join(btrfs.mountpoint, 'vol/nested/deeper one'));
    await must('btrfs', 'subvolume', 'create', path.join(btrfs.mountpoint, 'other\nline'));
    await mkdir(path.join(btrfs.mountpoint, 'vol/dir'));
  });

  it('follows the stack down to the image and the filesystem that holds it', async () => {
    const { path: found, filesystem } = await readFilesystemFacts(path.join(inner.mountpoint, 'tree/deep'));
    expect(found).toBe(path.join(inner.mountpoint, 'tree/deep'));
    expect(filesystem.mount).toMatchObject({ mountpoint: inner.mountpoint, fstype: 'ext4', root: '/' });
    expect(filesystem.stack?.[0]).toMatchObject({ majorMinor: inner.majorMinor, backingFile: inner.image });
    expect(filesystem.images?.map((image) => [image.path, image.mount?.majorMinor])).toEqual([
      [inner.image, outer.majorMinor],
      [outer.image, expect.any(String)],
    ]);
    expect(filesystem.totalBytes).toBeGreaterThan(filesystem.freeBytes);
    expect(filesystem.freeBytes).toBeGreaterThan(0);
  });

  it('names the device of a btrfs, whose own device number is anonymous', async () => {
    const { filesystem } = await readFilesystemFacts(btrfs.mountpoint);
    expect(filesystem.mount.majorMinor).toMatch(/^0:/);
    expect(filesystem.stack?.[0].backingFile).toBe(btrfs.image);
    expect(filesystem.images?.[0]?.mount?.majorMinor).toBe(outer.majorMinor);
  });

  it('narrows the mount to the subvolume that holds the directory', async () => {
    const inside = path.join(btrfs.mountpoint, 'vol/dir');
    const { filesystem } = await readFilesystemFacts(inside);
    expect(filesystem.mount).toMatchObject({
      mountpoint: path.join(btrfs.mountpoint, 'vol'),
      root: '/vol',
      majorMinor: btrfs.majorMinor,
    });
  });

  it('resolves symlinks, bind mounts and overmounts to what is really there', async () => {
    const link = path.join(disks.directory, 'link');
    await symlink(path.join(inner.mountpoint, 'tree'), link);
    expect((await readFilesystemFacts(link)).path).toBe(path.join(inner.mountpoint, 'tree'));

    const bind = path.join(disks.directory, 'bind');
    await mkdir(path.join(bind), { recursive: true });
    await must('mount', '--bind', path.join(inner.mountpoint, 'tree'), bind);
    const bound = await readFilesystemFacts(path.join(bind, 'deep'));
    expect(bound.filesystem.mount).toMatchObject({
      mountpoint: bind,
      root: '/tree',
      majorMinor: inner.majorMinor,
    });

    await must('mount', '--bind', btrfs.mountpoint, bind);
    expect((await readFilesystemFacts(bind)).filesystem.mount).toMatchObject({
      mountpoint: bind,
      majorMinor: btrfs.majorMinor,
    });
    await must('umount', bind);
    await must('umount', bind);
  });

  it('has no image to name for one that was deleted, or replaced under its name', async () => {
    const doomed = await disks.filesystem({ fstype: 'ext4', on: outer, name: 'doomed' });
    await must('rm', doomed.image);
    const deleted = await readFilesystemFacts(doomed.mountpoint);
    expect(deleted.filesystem.images?.[0]).toMatchObject({
      path: `${doomed.image} (deleted)`,
      mount: undefined,
    });
    await writeFile(`${doomed.image} (deleted)`, 'another file');
    const replaced = await readFilesystemFacts(doomed.mountpoint);
    expect(replaced.filesystem.images?.[0]?.mount).toBeUndefined();
  });

  it('refuses what is no directory, is missing, or should be mounted and is not', async () => {
    const file = path.join(inner.mountpoint, 'file');
    await writeFile(file, '');
    await expect(readFilesystemFacts(file)).rejects.toMatchObject({
      code: 'usage',
      message: `${file} is not a directory`,
    });
    const missing = path.join(disks.directory, 'missing');
    await expect(readFilesystemFacts(missing)).rejects.toMatchObject({
      code: 'usage',
      message: `${missing} does not exist`,
    });

    const unmounted = path.join(disks.directory, 'un mounted');
    await mkdir(path.join(unmounted, 'below'), { recursive: true });
    const fstab = path.join(disks.directory, 'fstab');
    await writeFile(fstab, `# disks\n/dev/disk ${unmounted.replace(' ', '\\040')} ext4 noauto 0 0\n`);
    await expect(readFilesystemFacts(path.join(unmounted, 'below'), { fstab })).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringContaining('is not mounted'),
      hint: `Mount it: mount '${unmounted}'`,
    });
    expect((await readFilesystemFacts(inner.mountpoint, { fstab })).path).toBe(inner.mountpoint);

    const link = path.join(disks.directory, 'named so in fstab');
    await symlink(unmounted, link);
    await writeFile(fstab, `/dev/disk ${link.replaceAll(' ', String.raw`\040`)} ext4 defaults 0 0\n`);
    for (const source of [link, unmounted]) {
      await expect(readFilesystemFacts(source, { fstab })).rejects.toMatchObject({
        code: 'usage',
        hint: `Mount it: mount '${link}'`,
      });
    }
  });

  it('finds nested subvolumes at every depth, through bind mounts too, and never its own snapshots', async () => {
    const { mountpoint } = btrfs;
    const { filesystem } = await readFilesystemFacts(mountpoint);
    await mkdir(path.join(mountpoint, 'vol/.fsbackup-snapshots'));
    await must(
      'btrfs',
      'subvolume',
      'snapshot',
      `${mountpoint}/vol`,
      `${mountpoint}/vol/.fsbackup-snapshots/x`,
    );
    expect(await nestedSubvolumes(mountpoint, filesystem.mount)).toEqual([
      `${mountpoint}/other\nline`,
      `${mountpoint}/vol`,
      `${mountpoint}/vol/nested`,
      `${mountpoint}/vol/nested/deeper one`,
    ]);

    const bind = path.join(disks.directory, 'subvolume-bind');
    await mkdir(bind);
    await must('mount', '--bind', `${mountpoint}/vol`, bind);
    const bound = await readFilesystemFacts(bind);
    expect(await nestedSubvolumes(bound.path, bound.filesystem.mount)).toEqual([
      `${bind}/nested`,
      `${bind}/nested/deeper one`,
    ]);
    expect(
      await nestedSubvolumes(
        inner.mountpoint,
        (await readFilesystemFacts(inner.mountpoint)).filesystem.mount,
      ),
    ).toEqual([]);
  });

  it('finds nested subvolumes whose names are made to look like other lines of their list', async () => {
    const { mountpoint } = await disks.filesystem({ fstype: 'btrfs' });
    const { filesystem } = await readFilesystemFacts(mountpoint);
    const line = (top: number, where: string): string => `\nID 9 gen 9 top level ${top} path ${where}`;
    const names = [
      'bob',
      `none${line(9, '<FS_TREE>/none')}`,
      `twice${line(5, 'bob')}`,
      // Listed before the one that it is taken for.
      `late${line(5, 'bob')}`,
      'late',
    ];
    const made = names.map((name) => path.join(mountpoint, name));
    for (const subvolume of made) {
      await mkdir(path.dirname(subvolume), { recursive: true });
      await must('btrfs', 'subvolume', 'create', subvolume);
    }
    expect(await nestedSubvolumes(mountpoint, filesystem.mount)).toEqual(made.toSorted());
  });

  it('finds submounts, bind mounts of files too, and not what is hidden or in memory', async () => {
    const below = path.join(inner.mountpoint, 'tree');
    for (const name of ['a', 'a/hidden', 'tmp']) await mkdir(path.join(below, name));
    await writeFile(path.join(below, 'b'), '');
    await writeFile(path.join(outer.mountpoint, 'file'), '');
    await must('mount', '--bind', btrfs.mountpoint, path.join(below, 'a/hidden'));
    await must('mount', '--bind', outer.mountpoint, path.join(below, 'a'));
    await must('mount', '--bind', path.join(outer.mountpoint, 'file'), path.join(below, 'b'));
    await must('mount', '-t', 'tmpfs', 'none', path.join(below, 'tmp'));
    const found = submountsBelow(await readMounts(), below);
    expect(found.map((mount) => [mount.mountpoint, mount.fstype])).toEqual([
      [path.join(below, 'a'), 'xfs'],
      [path.join(below, 'b'), 'xfs'],
    ]);
  });
});
