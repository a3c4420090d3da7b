import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it, onTestFinished } from 'vitest';
import { nestedSubvolumes } from '../../src/snapshots/nested-subvolumes.js';
import { SNAPSHOT_DIRECTORY_NAME } from '../../src/snapshots/private-directory.js';
import { providerByName } from '../../src/snapshots/registry.js';
import type { SnapshotProvider, SnapshotRef } from '../../src/snapshots/provider.js';
import { readFilesystemFacts } from '../../src/system/filesystem-facts.js';
import { runCommand } from '../../src/system/run-command.js';
import { describeNeeding } from '../support/capabilities.js';
import { eventually } from '../support/freeze-harness.js';
import { exposeIn, takeSnapshot } from '../support/take-snapshot.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

/** True once a program of that name, with `what` in its arguments, sleeps in D state. */
async function isStuck(program: string, what: string): Promise<true | undefined> {
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const [argv, status] = await Promise.all(
      ['cmdline', 'status'].map((file) => readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '')),
    );
    if (
      argv?.startsWith(`${program}\0`) === true &&
      argv.includes(what) &&
      status?.includes('State:\tD') === true
    ) {
      return true;
    }
  }
  return undefined;
}

describeNeeding(['root', 'loop', 'btrfs'], 'the btrfs provider', () => {
  const disks = throwawayDisks(afterAll);
  let btrfs: ThrowawayFilesystem;
  let provider: SnapshotProvider;
  let volume: string;
  let count = 0;

  beforeAll(async () => {
    btrfs = await disks.filesystem({ fstype: 'btrfs' });
    volume = path.join(btrfs.mountpoint, 'volume');
    await must('btrfs', 'subvolume', 'create', volume);
    await must('btrfs', 'subvolume', 'create', path.join(volume, 'nested'));
    await mkdir(path.join(volume, 'directory'));
    await writeFile(path.join(volume, 'file'), 'in the volume');
    await writeFile(path.join(volume, 'directory/file'), 'in the directory');
    await writeFile(path.join(volume, 'nested/file'), 'in the nested one');
  });

  beforeEach(() => {
    provider = providerByName('btrfs');
  });

  /** A mountpoint of the test's own; unmounted with the disks. */
  async function mountpoint(...args: string[]): Promise<string> {
    count += 1;
    const directory = path.join(disks.directory, `mount-${count}`);
    await mkdir(directory);
    await must('mount', ...(args as [string, ...string[]]), directory);
    onTestFinished(async () => {
      await must('umount', directory);
    });
    return directory;
  }

  /** What a snapshot of the mountpoint shows, by `look`; then all of it is undone. */
  async function snapshotOf<T>(directory: string, look: (exposed: string) => Promise<T>): Promise<T> {
    count += 1;
    const { ref } = await takeSnapshot(provider, directory, `fsbackup-btrfs-${count}`, 'atomic');
    const exposed = await exposeIn(provider, ref, disks.directory);
    try {
      return await look(exposed);
    } finally {
      await provider.unexpose({ snapshot: ref, path: exposed });
      await provider.remove(ref);
      expect(await provider.exists(ref)).toBe(false);
    }
  }

  it('shows of a bind mount, in a subvolume that is mounted elsewhere, what the bind mount shows', async () => {
    const bind = await mountpoint('--bind', path.join(volume, 'directory'));
    expect(await snapshotOf(bind, (exposed) => readFile(path.join(exposed, 'file'), 'utf8'))).toBe(
      'in the directory',
    );
    expect(await readdir(bind)).toEqual(['file']);
  });

  it('keeps the snapshot of a read-only mount on another mount that is writable', async () => {
    const readOnly = await mountpoint('-o', 'bind,ro', volume);
    expect(await snapshotOf(readOnly, (exposed) => readFile(path.join(exposed, 'file'), 'utf8'))).toBe(
      'in the volume',
    );
  });

  it('snapshots a subvolume that is itself read-only, and a nested one for itself', async () => {
    const frozen = path.join(btrfs.mountpoint, 'frozen');
    await must('btrfs', 'subvolume', 'snapshot', '-r', volume, frozen);
    const look = (exposed: string): Promise<string> => readFile(path.join(exposed, 'file'), 'utf8');
    expect(await snapshotOf(frozen, look)).toBe('in the volume');
    expect(await snapshotOf(path.join(volume, 'nested'), look)).toBe('in the nested one');
    await must('btrfs', 'subvolume', 'delete', frozen);
  });

  it('has an empty directory where a subvolume is nested', async () => {
    expect(await snapshotOf(volume, (exposed) => readdir(path.join(exposed, 'nested')))).toEqual([]);
  });

  it('mounts without set-uid, devices or programs', async () => {
    const options = await snapshotOf(volume, (exposed) => must('findmnt', '-no', 'OPTIONS', exposed));
    expect(options.split(',')).toEqual(expect.arrayContaining(['ro', 'nosuid', 'nodev', 'noexec']));
  });

  it('finds the right subvolume, and the nested ones, among so many that their list is longer than 1 MiB', async () => {
    const many = await disks.filesystem({ fstype: 'btrfs' });
    // The oldest: the first of the list.
    const first = path.join(many.mountpoint, 'first');
    await must('btrfs', 'subvolume', 'create', first);
    await writeFile(path.join(first, 'file'), 'in the first');
    const deep = path.join(many.mountpoint, ...Array.from({ length: 14 }, () => 'x'.repeat(250)));
    await mkdir(deep, { recursive: true });
    const others = Array.from({ length: 320 }, (_, index) => path.join(deep, `s${index}`));
    const create = ['xargs', '--null', '--max-args=1', 'btrfs', 'subvolume', 'create'] as const;
    expect((await runCommand(create, { input: others.join('\0') })).exitCode).toBe(0);
    const listed = others.map((other) => path.relative(many.mountpoint, other));
    expect(listed.join('\n').length).toBeGreaterThan(1024 * 1024);

    const { filesystem } = await readFilesystemFacts(many.mountpoint);
    const nested = await nestedSubvolumes(many.mountpoint, filesystem.mount);
    expect(nested).toHaveLength(321);
    expect(nested[0]).toBe(first);
    const mounted = await mountpoint('-o', 'subvol=first', many.device);
    expect(await snapshotOf(mounted, (exposed) => readFile(path.join(exposed, 'file'), 'utf8'))).toBe(
      'in the first',
    );
  });

  it('refuses a part of a subvolume that is mounted nowhere as a whole', async () => {
    const other = await disks.filesystem({ fstype: 'btrfs' });
    await mkdir(path.join(other.mountpoint, 'part'));
    const bind = await mountpoint('--bind', path.join(other.mountpoint, 'part'));
    await must('umount', other.mountpoint);
    const { filesystem } = await readFilesystemFacts(bind);
    await expect(
      provider.prepare([{ filesystem, name: 'fsbackup-part', freezeMode: 'atomic' }]),
    ).rejects.toMatchObject({
      code: 'snapshotFailed',
      message: expect.stringContaining('mounted nowhere as a whole'),
    });
  });

  it('removes its snapshot wherever, and by whichever mount, its filesystem can be seen, and not before', async () => {
    const own = await disks.filesystem({ fstype: 'btrfs' });
    const other = await disks.filesystem({ fstype: 'btrfs' });
    for (const name of ['old', 'new'])
      await must('btrfs', 'subvolume', 'create', path.join(own.mountpoint, name));
    const at = path.join(disks.directory, 'moving');
    await mkdir(at);
    await must('mount', '-o', 'subvol=old', own.device, at);
    const snapshots = async (): Promise<string[]> =>
      (await readdir(path.join(own.mountpoint, 'old', SNAPSHOT_DIRECTORY_NAME))).toSorted();
    const take = async (name: string): Promise<SnapshotRef> =>
      (await takeSnapshot(provider, at, name, 'atomic')).ref;
    // As entries of a version that recorded no UUID.
    const { storageUuid, storagePath, ...old } = (await take('fsbackup-old')).data;
    const moved = await take('fsbackup-moved');
    const refs = [
      moved,
      {
        ...(await take('fsbackup-by-place')),
        data: { ...old, snapshot: `${at}/${SNAPSHOT_DIRECTORY_NAME}/fsbackup-by-place` },
      },
    ];
    await must('btrfs', 'subvolume', 'delete', `${at}/${SNAPSHOT_DIRECTORY_NAME}/fsbackup-old`);
    expect([storageUuid, storagePath]).toEqual([
      await must('findmnt', '-no', 'UUID', at),
      `/old/${SNAPSHOT_DIRECTORY_NAME}/fsbackup-old`,
    ]);
    await must('umount', at);
    await must('umount', own.mountpoint);

    await must('mount', other.device, at);
    await expect(provider.remove(moved)).rejects.toMatchObject({
      code: 'cleanupIncomplete',
      message: expect.stringContaining(`btrfs ${storageUuid}, which was at ${at} and is not mounted`),
      hint: expect.stringContaining(`Mount UUID=${storageUuid}`),
    });
    await must('umount', at);

    await must('mount', '-o', 'subvol=new', own.device, at);
    for (const ref of refs) {
      await expect(provider.remove(ref)).rejects.toMatchObject({
        code: 'cleanupIncomplete',
        message: expect.stringContaining(`/old/${SNAPSHOT_DIRECTORY_NAME}/${ref.name}`),
        hint: expect.stringContaining('mount -o subvol=/'),
      });
    }
    await must('mount', own.device, own.mountpoint);
    expect(await snapshots()).toEqual(['fsbackup-by-place', 'fsbackup-moved']);
    // What was snapshotted is set aside, as by who goes back to an older state.
    await rename(path.join(own.mountpoint, 'old'), path.join(own.mountpoint, 'aside'));
    for (const ref of refs) await provider.remove(ref);
    expect(await readdir(path.join(own.mountpoint, 'aside'))).toEqual([]);
    // Told by a mount that would not show it.
    await must('umount', own.mountpoint);
    for (const ref of refs) await provider.remove(ref);
    await must('umount', at);
  });

  it.each(['mkdir', 'snapshot'])(
    'gives up when %s hangs on a btrfs that somebody froze, and removes what comes of it',
    async (hanging) => {
      const { filesystem } = await readFilesystemFacts(volume);
      const [ref] = await provider.prepare([{ filesystem, name: 'fsbackup-hung', freezeMode: 'atomic' }]);
      if (ref === undefined) throw new Error('nothing was prepared');
      if (hanging === 'snapshot') await mkdir(path.dirname(ref.data['snapshot'] ?? ''), { mode: 0o700 });
      await must('fsfreeze', '--freeze', btrfs.mountpoint);
      const abort = new AbortController();
      try {
        const created = provider.create([ref], { signal: abort.signal }).catch((error: unknown) => error);
        await eventually(`${hanging} to hang`, () =>
          hanging === 'mkdir' ? isStuck('mkdir', SNAPSHOT_DIRECTORY_NAME) : isStuck('btrfs', 'fsbackup-hung'),
        );
        abort.abort('the freeze was lost');
        expect(await created).toMatchObject({ code: 'snapshotFailed' });
      } finally {
        await must('fsfreeze', '--unfreeze', btrfs.mountpoint);
      }
      await provider.remove(ref);
      expect(await provider.exists(ref)).toBe(false);
      expect(await readdir(btrfs.mountpoint)).not.toContain(SNAPSHOT_DIRECTORY_NAME);
    },
  );
});
