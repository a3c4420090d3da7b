import { mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, expect, it, onTestFinished } from 'vitest';
import { createBtrfsSendEngine } from '../../src/copy/btrfs/btrfs-send-engine.js';
import type { CopyBase, CopyRequest } from '../../src/copy/engine.js';
import { ImageClone } from '../../src/snapshots/image-clone.js';
import { SNAPSHOT_DIRECTORY_NAME } from '../../src/snapshots/private-directory.js';
import type { SnapshotProvider, SnapshotRef } from '../../src/snapshots/provider.js';
import { providerByName } from '../../src/snapshots/registry.js';
import { readFilesystemFacts } from '../../src/system/filesystem-facts.js';
import { ficlone } from '../../src/system/native.js';
import { runCommand } from '../../src/system/run-command.js';
import { describeNeeding } from '../support/capabilities.js';
import { copyRequest } from '../support/engine-requests.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { exposeIn, takeSnapshot, whileFrozen } from '../support/take-snapshot.js';
import {
  must,
  throwawayDisks,
  type ThrowawayDisks,
  type ThrowawayFilesystem,
} from '../support/throwaway-filesystem.js';

interface Swapped {
  /** What is backed up. */
  source: ThrowawayFilesystem;
  /** Where its snapshots lie: who owns the top of it may rename what is there. */
  storage: ThrowawayFilesystem;
  provider: SnapshotProvider;
  freezeMode: 'explicit' | 'atomic';
}

/** What the owner of a directory on the way can do between two looks at it: nothing of it is followed, shown or removed. */
describeNeeding(['root', 'loop', 'xfs', 'btrfs', 'ext4'], 'a directory that is swapped for another', () => {
  const disks = throwawayDisks(afterAll);

  async function on(name: 'reflink' | 'btrfs'): Promise<Swapped> {
    const own: ThrowawayDisks = throwawayDisks(onTestFinished);
    const storage = await own.filesystem({ fstype: name === 'btrfs' ? 'btrfs' : 'xfs' });
    const source = name === 'btrfs' ? storage : await own.filesystem({ fstype: 'ext4', on: storage });
    await mkdir(path.join(source.mountpoint, 'tree'));
    await writeFile(path.join(source.mountpoint, 'tree/file'), 'of the source');
    const freezeMode = name === 'btrfs' ? 'atomic' : 'explicit';
    return { source, storage, provider: providerByName(name), freezeMode };
  }

  /** As any run leaves it: it has its name on disk. */
  async function published({ provider, source, freezeMode }: Swapped, name: string): Promise<SnapshotRef> {
    const { ref } = await takeSnapshot(provider, source.mountpoint, name, freezeMode);
    const exposed = await exposeIn(provider, ref, disks.directory);
    await provider.unexpose({ snapshot: ref, path: exposed });
    await rm(exposed, { recursive: true });
    return ref;
  }

  it.each([
    ['reflink', 'a symlink'],
    ['reflink', 'a directory of theirs'],
    ['btrfs', 'a symlink'],
    ['btrfs', 'a directory of theirs'],
  ] as const)('%s: %s in the place of the directory for snapshots', async (name, kind) => {
    const swapped = await on(name);
    const { provider, storage } = swapped;
    const ref = await published(swapped, `fsbackup-${name}-${kind.length}`);
    const ours = path.join(storage.mountpoint, SNAPSHOT_DIRECTORY_NAME);
    const [made = ''] = await readdir(ours);
    const aside = path.join(storage.mountpoint, 'aside');
    const theirs = path.join(storage.mountpoint, 'theirs');
    await rename(ours, aside);
    // What bears the name of the snapshot there would be shown, or removed, in its place.
    await mkdir(theirs, { mode: 0o755 });
    const bait = path.join(theirs, made);
    if (name === 'btrfs') await must('btrfs', 'subvolume', 'create', bait);
    else await writeFile(bait, 'not of ours');
    if (kind === 'a symlink') await symlink(theirs, ours);
    else await rename(theirs, ours);

    const refused = {
      code: 'snapshotFailed',
      message: expect.stringContaining(`${ours} is not a private directory`),
    };
    await expect(provider.exists(ref)).rejects.toMatchObject(refused);
    await expect(exposeIn(provider, ref, disks.directory)).rejects.toMatchObject(refused);
    await expect(provider.remove(ref)).rejects.toMatchObject(refused);
    expect(await readdir(kind === 'a symlink' ? theirs : ours)).toEqual([made]);
    expect(await readdir(aside)).toEqual([made]);

    await (kind === 'a symlink' ? rm(ours) : rename(ours, theirs));
    await rename(aside, ours);
    await provider.remove(ref);
    expect(await readdir(storage.mountpoint)).not.toContain(SNAPSHOT_DIRECTORY_NAME);
  });

  it.each(['reflink', 'btrfs'] as const)(
    '%s: a symlink in the place of the directory that is mounted by itself',
    async (name) => {
      const { source, provider, freezeMode } = await on(name);
      const bind = path.join(disks.directory, `bind-${name}`);
      await mkdir(bind);
      const tree = path.join(source.mountpoint, 'tree');
      await must('mount', '--bind', tree, bind);
      onTestFinished(async () => {
        await must('umount', bind);
      });
      const { filesystem } = await readFilesystemFacts(bind);
      const [ref] = await provider.prepare([{ filesystem, name: 'fsbackup-bind', freezeMode }]);
      if (ref === undefined) throw new Error('nothing was prepared');
      await rename(tree, `${tree}-of-before`);
      await symlink('/etc', tree);
      const create = (): Promise<void> => provider.create([ref], { signal: new AbortController().signal });
      await (freezeMode === 'explicit' ? whileFrozen(source.mountpoint, create) : create());
      await expect(exposeIn(provider, ref, disks.directory)).rejects.toMatchObject({
        code: 'snapshotFailed',
        message: 'In the snapshot, /tree is reached by a symlink',
      });
      await provider.unexpose({ snapshot: ref, path: path.join(disks.directory, `exposed-${ref.name}`) });
      await rm(path.join(disks.directory, `exposed-${ref.name}`), { recursive: true });
      await provider.remove(ref);
    },
  );

  it('another image than the one that is mounted is not cloned', async () => {
    const { storage } = await on('reflink');
    const image = path.join(storage.mountpoint, 'another.img');
    await writeFile(image, 'not the one');
    const plan = { image, clone: `${image}.clone`, incremental: true, isImage: () => Promise.resolve(false) };
    await expect(ImageClone.open(plan, ficlone)).rejects.toMatchObject({
      code: 'snapshotFailed',
      message: expect.stringContaining('it was replaced meanwhile'),
    });
  });

  it.each([
    ['a symlink', 'is reached by a symlink'],
    ['a file', 'is not a directory'],
    ['nothing', 'is not there'],
  ])('%s in the place of a source, just before the snapshot, is no backup', async (kind, why) => {
    const { source } = await on('reflink');
    const tree = path.join(source.mountpoint, 'tree');
    const directory = path.join(disks.directory, `job-${kind.replace(' ', '-')}`);
    const target = path.join(directory, 'backups');
    await mkdir(target, { recursive: true });
    const put = { 'a symlink': ['ln', '-s', '/etc', tree], 'a file': ['touch', tree], nothing: ['true'] }[
      kind
    ];
    const quiesce = [
      { name: 'first', before: ['mv', tree, `${tree}-of-before`] },
      { name: 'then', before: put },
    ];
    const jobs = { srv: { sources: [{ path: tree }], targets: [target], quiesce } };
    const config = path.join(directory, 'config.yaml');
    await writeFile(config, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
    const cli = new FsbackupCli(directory);
    const { exitCode, value } = await cli.runJob('srv', '--config', config);
    expect(exitCode).toBe(30);
    expect(value).toMatchObject({ copies: [], error: { message: `In the snapshot, ${tree} ${why}` } });
    expect(JSON.parse((await cli.run('backups', 'list', '--from', target, '--json')).stdout)).toMatchObject({
      backups: [],
    });
    expect(await cli.journalEntries()).toEqual([]);
    expect(await readFile(`${tree}-of-before/file`, 'utf8')).toBe('of the source');
  });

  it.each(['snapshot', 'parent'] as const)('another %s is not sent as a backup', async (what) => {
    const { source, provider, storage } = await on('btrfs');
    const { mountpoint } = source;
    const target = path.join(disks.directory, `sent-instead-${what}`);
    await mkdir(target);
    const take = async (name: string): Promise<{ ref: SnapshotRef; readFrom: string }> => {
      const { ref } = await takeSnapshot(provider, mountpoint, name, 'atomic');
      return { ref, readFrom: await exposeIn(provider, ref, target) };
    };
    const taken = [await take('fsbackup-first'), await take('fsbackup-second')] as const;
    const requestOf = async (index: 0 | 1, base?: CopyBase): Promise<CopyRequest> => {
      const backup = { job: 'srv', backupId: `20261126T00000${index}Z-abcdef` };
      const dataDirectory = path.join(target, 'srv', backup.backupId, 'data');
      await mkdir(dataDirectory, { recursive: true });
      const { ref, readFrom } = taken[index];
      const sources = [{ path: mountpoint, readFrom, exclude: [], snapshot: ref }];
      return copyRequest(sources, dataDirectory, { backup, base });
    };
    const first = await requestOf(0);
    const { keep = [] } = await createBtrfsSendEngine().copy(first);
    const { dataDirectory } = first;
    const base = { backupId: first.backup.backupId, dataDirectory, snapshots: keep };

    const ours = path.join(storage.mountpoint, SNAPSHOT_DIRECTORY_NAME);
    const swapped = path.join(ours, what === 'snapshot' ? 'fsbackup-second' : 'fsbackup-first');
    const aside = path.join(ours, 'aside');
    const swap: typeof runCommand = async (argv, options) => {
      if (argv[0] !== 'btrfs' || argv[1] !== 'send') return await runCommand(argv, options);
      // As late as can be: all that was looked at was ours.
      await rename(swapped, aside);
      await must('btrfs', 'subvolume', 'snapshot', '-r', mountpoint, swapped);
      try {
        return await runCommand(argv, options);
      } finally {
        await must('btrfs', 'subvolume', 'delete', swapped);
        await rename(aside, swapped);
      }
    };
    const second = await requestOf(1, base);
    await expect(createBtrfsSendEngine(swap).copy(second)).rejects.toMatchObject({
      code: 'copyFailed',
      message: expect.stringContaining('another subvolume was sent in the place of'),
    });
    const { needs } = await createBtrfsSendEngine().copy(second);
    expect(needs).toEqual([first.backup.backupId]);
    for (const { ref, readFrom } of taken) {
      await provider.unexpose({ snapshot: ref, path: readFrom });
      await provider.remove(ref);
    }
  });
});
