import {
  chmod,
  chown,
  copyFile,
  mkdir,
  readdir,
  readFile,
  rename,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import path from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { SNAPSHOT_DIRECTORY_NAME } from '../../src/snapshots/private-directory.js';
import { providerByName } from '../../src/snapshots/registry.js';
import { readFilesystemFacts } from '../../src/system/filesystem-facts.js';
import { runCommand } from '../../src/system/run-command.js';
import { describeNeeding } from '../support/capabilities.js';
import { exposeIn, takeSnapshot, whileFrozen } from '../support/take-snapshot.js';
import {
  must,
  throwawayDisks,
  type ThrowawayDisks,
  type ThrowawayFilesystem,
} from '../support/throwaway-filesystem.js';

const PROJECT = path.resolve(import.meta.dirname, '../..');
const ALONE = { nestedFreeze: 'unknown', grouped: false } as const;

async function ext4On(disks: ThrowawayDisks, fstype: 'xfs' | 'btrfs' | 'ext4') {
  const outer = await disks.filesystem({ fstype, sizeMiB: 1024 });
  const inner = await disks.filesystem({ fstype: 'ext4', on: outer });
  await mkdir(path.join(inner.mountpoint, 'tree'));
  await writeFile(path.join(inner.mountpoint, 'tree/file'), 'content');
  return { outer, inner };
}

async function prepareOn(mountpoint: string) {
  const { filesystem } = await readFilesystemFacts(mountpoint);
  const provider = providerByName('reflink');
  return {
    detection: provider.detect(filesystem, ALONE),
    prepared: provider.prepare([{ filesystem, name: 'fsbackup-refused', freezeMode: 'explicit' }]),
  };
}

describeNeeding(['root', 'loop', 'xfs', 'btrfs', 'ext4'], 'the reflink provider', () => {
  async function roundTrip(disks: ThrowawayDisks, mountpoint: string, file: string): Promise<string> {
    const provider = providerByName('reflink');
    const { ref } = await takeSnapshot(provider, mountpoint, 'fsbackup-trip', 'explicit');
    const exposed = await exposeIn(provider, ref, disks.directory);
    const content = await readFile(path.join(exposed, file), 'utf8');
    await provider.expose(ref, exposed);
    await provider.unexpose({ snapshot: ref, path: exposed });
    expect(await readdir(exposed)).toEqual([]);
    await provider.remove(ref);
    return content;
  }

  it('shows of a bind mount what the bind mount shows', async () => {
    const disks = throwawayDisks(onTestFinished);
    const { inner } = await ext4On(disks, 'xfs');
    const bind = path.join(disks.directory, 'bind');
    await mkdir(bind);
    await must('mount', '--bind', path.join(inner.mountpoint, 'tree'), bind);
    expect(await roundTrip(disks, bind, 'file')).toBe('content');
    expect(await disks.leftovers()).toEqual({ mountpoints: [bind], loopDevices: [] });
  });

  it('finds a filesystem that begins in the midst of its image', async () => {
    const disks = throwawayDisks(onTestFinished);
    const outer = await disks.filesystem({ fstype: 'xfs', sizeMiB: 1024 });
    const image = path.join(outer.mountpoint, 'disk.img');
    await writeFile(image, '');
    await truncate(image, 160 * 1024 * 1024);
    const window = ['--offset', '8388608', '--sizelimit', '67108864'] as const;
    const device = await must('losetup', '--find', '--show', ...window, image);
    await must('mkfs.ext4', '-q', device);
    const mountpoint = path.join(disks.directory, 'part');
    await mkdir(mountpoint);
    await must('mount', device, mountpoint);
    await writeFile(path.join(mountpoint, 'file'), 'within');
    expect(await roundTrip(disks, mountpoint, 'file')).toBe('within');
  });

  it('leaves nothing when its process is killed before the snapshot is exposed', async () => {
    const disks = throwawayDisks(onTestFinished);
    const { outer, inner } = await ext4On(disks, 'xfs');
    const stop = new AbortController();
    let line: string | undefined;
    const created = new Promise<void>((resolve) => {
      void runCommand(
        [process.execPath, '--import', 'tsx', 'test/support/snapshot-holder.ts', inner.mountpoint],
        {
          cwd: PROJECT,
          timeoutMs: 60_000,
          signal: stop.signal,
          onStdoutLine: (text) => {
            line = text;
            resolve();
          },
        },
      ).then(() => resolve());
    });
    await created;
    expect(line).toBeDefined();
    const ref = JSON.parse(line ?? '') as Parameters<ReturnType<typeof providerByName>['remove']>[0];
    expect(await readdir(outer.mountpoint)).not.toContain(SNAPSHOT_DIRECTORY_NAME);
    stop.abort();
    const later = providerByName('reflink');
    expect(await later.exists(ref)).toBe(false);
    await later.remove(ref);
  });

  it('clones an image without copy-on-write on btrfs, and says what to do where it cannot', async () => {
    const disks = throwawayDisks(onTestFinished);
    const outer = await disks.filesystem({ fstype: 'btrfs', sizeMiB: 1024 });
    const machines = path.join(outer.mountpoint, 'machines');
    await mkdir(machines);
    await must('chattr', '+C', machines);
    const inner = await disks.filesystem({ fstype: 'ext4', on: { ...outer, mountpoint: machines } });
    expect(await must('lsattr', inner.image)).toMatch(/^-+C/);
    await writeFile(path.join(inner.mountpoint, 'file'), 'content');
    expect(await roundTrip(disks, inner.mountpoint, 'file')).toBe('content');

    await must('chattr', '-C', machines);
    const { detection, prepared } = await prepareOn(inner.mountpoint);
    expect(detection.suits).toBe(true);
    await expect(prepared).rejects.toMatchObject({
      code: 'snapshotFailed',
      message: `The image ${inner.image} cannot be cloned: EINVAL`,
      hint: expect.stringContaining('+C'),
    });
  });

  it('refuses an image on a filesystem that shares no blocks, and one that is gone', async () => {
    const disks = throwawayDisks(onTestFinished);
    const onExt4 = await ext4On(disks, 'ext4');
    const refused = await prepareOn(onExt4.inner.mountpoint);
    expect(refused.detection).toMatchObject({
      suits: false,
      reason: expect.stringContaining('lies on ext4'),
    });
    await expect(refused.prepared).rejects.toMatchObject({ code: 'snapshotFailed' });

    const onXfs = await ext4On(disks, 'xfs');
    await must('rm', onXfs.inner.image);
    const deleted = await prepareOn(onXfs.inner.mountpoint);
    expect(deleted.detection).toMatchObject({ suits: false, reason: expect.stringContaining('deleted') });
    await expect(deleted.prepared).rejects.toMatchObject({ code: 'snapshotFailed' });
  });

  it('follows an image that was renamed, and replaced under its name, since the plan', async () => {
    const disks = throwawayDisks(onTestFinished);
    const { inner } = await ext4On(disks, 'xfs');
    const { filesystem } = await readFilesystemFacts(inner.mountpoint);
    await rename(inner.image, `${inner.image}.away`);
    await must('ln', '-s', `${inner.image}.other`, inner.image);
    await copyFile('/etc/hostname', `${inner.image}.other`);
    const provider = providerByName('reflink');
    const [ref] = await provider.prepare([{ filesystem, name: 'fsbackup-moved', freezeMode: 'explicit' }]);
    expect(ref?.data['image']).toBe(`${inner.image}.away`);
    if (ref !== undefined) await provider.remove(ref);
  });

  it('refuses a read-only storage, and one without room', async () => {
    const disks = throwawayDisks(onTestFinished);
    const { outer, inner } = await ext4On(disks, 'xfs');
    const filler = path.join(outer.mountpoint, 'filler');
    const { filesystem } = await readFilesystemFacts(outer.mountpoint);
    await must('fallocate', '-l', String(filesystem.freeBytes - 40 * 1024 * 1024), filler);
    await expect((await prepareOn(inner.mountpoint)).prepared).rejects.toMatchObject({
      code: 'snapshotFailed',
      message: expect.stringContaining('Too little room'),
    });
    await must('rm', filler);

    const readOnly = path.join(disks.directory, 'read-only');
    await mkdir(readOnly);
    await must('mount', '-o', 'bind,ro', outer.mountpoint, readOnly);
    const facts = await readFilesystemFacts(readOnly);
    const { filesystem: innerFacts } = await readFilesystemFacts(inner.mountpoint);
    const images = (innerFacts.images ?? []).map((image) => ({ ...image, mount: facts.filesystem.mount }));
    expect(providerByName('reflink').detect({ ...innerFacts, images }, ALONE)).toMatchObject({
      suits: false,
      reason: expect.stringContaining('read-only'),
    });
  });

  it('does not write where somebody else laid a trap in its name', async () => {
    const disks = throwawayDisks(onTestFinished);
    const { outer, inner } = await ext4On(disks, 'xfs');
    const trap = path.join(outer.mountpoint, SNAPSHOT_DIRECTORY_NAME);
    const elsewhere = path.join(disks.directory, 'elsewhere');
    await mkdir(elsewhere);
    const provider = providerByName('reflink');
    const refuses = async (name: string): Promise<void> => {
      const { ref } = await takeSnapshot(provider, inner.mountpoint, name, 'explicit');
      await expect(exposeIn(provider, ref, disks.directory)).rejects.toMatchObject({
        code: 'snapshotFailed',
        message: expect.stringContaining('not a private directory'),
      });
      await provider.remove(ref);
    };
    await symlink(elsewhere, trap);
    await refuses('fsbackup-symlink');
    expect(await readdir(elsewhere)).toEqual([]);
    await must('rm', trap);
    await mkdir(trap, { mode: 0o700 });
    await chown(trap, 65_534, 65_534);
    await refuses('fsbackup-owner');
    await chown(trap, 0, 0);
    await chmod(trap, 0o755);
    await refuses('fsbackup-mode');
  });

  it('does not call a snapshot removed whose storage is not mounted', async () => {
    const disks = throwawayDisks(onTestFinished);
    const { outer, inner } = await ext4On(disks, 'xfs');
    const provider = providerByName('reflink');
    const { ref } = await takeSnapshot(provider, inner.mountpoint, 'fsbackup-away', 'explicit');
    const exposed = await exposeIn(provider, ref, disks.directory);
    await provider.unexpose({ snapshot: ref, path: exposed });
    await releaseStack(inner, outer);
    await expect(providerByName('reflink').remove(ref)).rejects.toMatchObject({
      code: 'cleanupIncomplete',
      message: expect.stringContaining('not mounted'),
    });
    // Another of its kind in its place says nothing of it.
    const other = await disks.filesystem({ fstype: 'xfs' });
    await must('mount', '--bind', other.mountpoint, outer.mountpoint);
    await expect(providerByName('reflink').remove(ref)).rejects.toMatchObject({
      code: 'cleanupIncomplete',
      message: expect.stringContaining('not mounted'),
      hint: expect.stringContaining(`UUID=${ref.data['storageUuid']}`),
    });
    const elsewhere = path.join(disks.directory, 'elsewhere');
    await mkdir(elsewhere);
    await must('mount', outer.device, elsewhere);
    await providerByName('reflink').remove(ref);
    expect(await readdir(elsewhere)).toEqual([path.basename(inner.image)]);
  });

  it('does not call a snapshot removed where no mount shows the place that it was in', async () => {
    const disks = throwawayDisks(onTestFinished);
    const { outer, inner } = await ext4On(disks, 'xfs');
    const provider = providerByName('reflink');
    const { ref } = await takeSnapshot(provider, inner.mountpoint, 'fsbackup-part', 'explicit');
    const exposed = await exposeIn(provider, ref, disks.directory);
    await provider.unexpose({ snapshot: ref, path: exposed });
    await mkdir(path.join(outer.mountpoint, 'part'));
    const part = path.join(disks.directory, 'part');
    await mkdir(part);
    await must('mount', '--bind', path.join(outer.mountpoint, 'part'), part);
    await releaseStack(inner, outer);
    await expect(providerByName('reflink').remove(ref)).rejects.toMatchObject({
      code: 'cleanupIncomplete',
      message: expect.stringContaining('no mount shows that'),
    });
    // Entries of a version that recorded no UUID are released where the filesystem was.
    await must('mount', outer.device, outer.mountpoint);
    const { storageUuid, storagePath, ...data } = ref.data;
    expect([typeof storageUuid, typeof storagePath]).toEqual(['string', 'string']);
    await providerByName('reflink').remove({ ...ref, data });
    expect(await readdir(outer.mountpoint)).toEqual([path.basename(inner.image), 'part']);
    await providerByName('reflink').remove({ ...ref, data });
  });

  it('takes two filesystems at one instant', async () => {
    const disks = throwawayDisks(onTestFinished);
    const { outer, inner } = await ext4On(disks, 'xfs');
    const other = await disks.filesystem({ fstype: 'xfs', on: outer });
    const provider = providerByName('reflink');
    const requests = await Promise.all(
      [inner, other].map(async ({ mountpoint }, index) => ({
        filesystem: (await readFilesystemFacts(mountpoint)).filesystem,
        name: `fsbackup-pair-${index}`,
        freezeMode: 'explicit' as const,
      })),
    );
    const refs = await provider.prepare(requests);
    const { signal } = new AbortController();
    await whileFrozen(inner.mountpoint, async () => {
      await whileFrozen(other.mountpoint, () => provider.create(refs, { signal }));
    });
    for (const ref of refs) {
      expect(await provider.exists(ref)).toBe(true);
      await provider.remove(ref);
      expect(await provider.exists(ref)).toBe(false);
    }
  });
});

/** Unmounts a filesystem and then the one that its image lies on. */
async function releaseStack(upper: ThrowawayFilesystem, lower: ThrowawayFilesystem): Promise<void> {
  await must('umount', upper.mountpoint);
  await must('losetup', '--detach', upper.device);
  await must('umount', lower.mountpoint);
}
