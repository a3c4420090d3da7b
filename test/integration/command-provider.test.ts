import { mkdir, readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import type { SnapshotCommands } from '../../src/config/types.js';
import type { SnapshotRef } from '../../src/snapshots/provider.js';
import { providerByName } from '../../src/snapshots/registry.js';
import { readFilesystemFacts } from '../../src/system/filesystem-facts.js';
import { describeNeeding } from '../support/capabilities.js';
import { arrayCommands } from '../support/snapshot-worlds.js';
import { exposeIn, takeSnapshot } from '../support/take-snapshot.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

describeNeeding(['root', 'loop', 'xfs', 'ext4'], 'the command provider', () => {
  const disks = throwawayDisks(afterAll);
  let origin: ThrowawayFilesystem;
  let store: string;
  let count = 0;

  beforeAll(async () => {
    const outer = await disks.filesystem({ fstype: 'xfs', sizeMiB: 1024 });
    origin = await disks.filesystem({ fstype: 'ext4', on: outer, name: 'with space' });
    store = path.join(outer.mountpoint, 'store');
    await mkdir(store);
  });

  beforeEach(async () => {
    await must('rm', '-f', path.join(store, 'log'));
    count += 1;
  });

  async function calls(): Promise<string[]> {
    return (await readFile(path.join(store, 'log'), 'utf8')).trimEnd().split('\n');
  }

  async function prepare(commands: SnapshotCommands) {
    const provider = providerByName('command', commands);
    const { filesystem } = await readFilesystemFacts(origin.mountpoint);
    const [ref] = await provider.prepare([
      { filesystem, name: `fsbackup-c-${count}`, freezeMode: 'explicit' },
    ]);
    return { provider, ref: ref as SnapshotRef };
  }

  it('calls the commands with exactly the arguments they are configured with', async () => {
    const { exists: _, ...withoutExists } = arrayCommands(store);
    const provider = providerByName('command', withoutExists);
    const { ref } = await takeSnapshot(provider, origin.mountpoint, 'fsbackup-argv', 'explicit');
    expect(await provider.exists(ref)).toBe(true);
    const exposed = await exposeIn(provider, ref, disks.directory);
    await provider.unexpose({ snapshot: ref, path: exposed });
    await provider.remove(ref);
    await provider.remove(ref);
    expect(await calls()).toEqual([
      `create [--device=${origin.device}] [fsbackup-argv]`,
      `expose [fsbackup-argv] [${exposed}]`,
      `unexpose [${exposed}]`,
      'remove [fsbackup-argv]',
    ]);
  });

  it('releases with the commands that made the snapshot, whatever the configuration says by then', async () => {
    const { ref } = await takeSnapshot(
      providerByName('command', arrayCommands(store)),
      origin.mountpoint,
      'fsbackup-old',
      'explicit',
    );
    const later = providerByName('command');
    expect(await later.exists(ref)).toBe(true);
    await later.remove(ref);
    expect((await readdir(store)).filter((name) => name.includes('fsbackup-old'))).toEqual([]);
  });

  it('makes what is mounted writable read-only, and unmounts what no command unmounts', async () => {
    const { unexpose: _, ...commands } = arrayCommands(store);
    const provider = providerByName('command', {
      ...commands,
      expose: ['mount', '-o', 'loop', `${store}/{name}.snapshot`, '{directory}'],
    });
    const { ref } = await takeSnapshot(provider, origin.mountpoint, 'fsbackup-rw', 'explicit');
    const exposed = await exposeIn(provider, ref, disks.directory);
    const options = await must('findmnt', '-no', 'OPTIONS', exposed);
    expect(options.split(',')).toEqual(expect.arrayContaining(['ro', 'nosuid', 'nodev', 'noexec']));
    await provider.unexpose({ snapshot: ref, path: exposed });
    await provider.remove(ref);
    expect(await disks.leftovers()).toEqual({ mountpoints: [], loopDevices: [] });
  });

  it('takes a snapshot for gone only where `exists` says so, and not where that cannot be told', async () => {
    const saying = (script: string) => prepare({ ...arrayCommands(store), exists: ['sh', '-c', script] });
    for (const [script, why] of [
      ['exit 255', 'exit code 255'],
      ['exec /etc/passwd', 'exit code 126'],
      ['exec /nowhere', 'exit code 127'],
      ['kill -KILL $$', 'SIGKILL'],
      ['sh -c "kill -TERM \\$\\$"; exit $?', 'exit code 143'],
    ] as const) {
      const { provider, ref } = await saying(script);
      const untold = {
        code: 'cleanupIncomplete',
        message: expect.stringContaining(why) as string,
        hint: expect.stringContaining('by hand: sh -c') as string,
      };
      await expect(provider.exists(ref), script).rejects.toMatchObject(untold);
      await expect(provider.remove(ref), script).rejects.toMatchObject(untold);
    }
    const { provider, ref } = await saying('exit 1');
    expect(await provider.exists(ref)).toBe(false);
    await expect(calls()).rejects.toThrow('ENOENT');
  });

  it('refuses an expose command that mounts nothing: the backup would be empty', async () => {
    const { provider, ref } = await prepare({ ...arrayCommands(store), expose: ['true'] });
    await expect(exposeIn(provider, ref, disks.directory)).rejects.toMatchObject({
      code: 'snapshotFailed',
      message: expect.stringContaining('mounted nothing'),
    });
  });

  it('says how a command failed', async () => {
    const { provider, ref } = await prepare({
      ...arrayCommands(store),
      create: ['ls', '/no/such/volume'],
      remove: ['false'],
      exists: ['true'],
    });
    const signal = new AbortController().signal;
    await expect(provider.create([ref], { signal })).rejects.toMatchObject({
      code: 'snapshotFailed',
      message: expect.stringContaining("cannot access '/no/such/volume'"),
      hint: 'Try by hand: ls /no/such/volume',
    });
    await expect(provider.remove(ref)).rejects.toMatchObject({ code: 'cleanupIncomplete' });
  });

  it('finds out before any freeze that a program is not there', async () => {
    for (const program of ['fsbackup-no-such-program', '/no/such/program', '/etc/passwd']) {
      await expect(prepare({ ...arrayCommands(store), remove: [program] })).rejects.toMatchObject({
        code: 'usage',
        message: expect.stringContaining(program),
      });
    }
  });

  it('unexposes what was exposed in part, and is content when nothing was', async () => {
    const { provider, ref } = await prepare({ ...arrayCommands(store), unexpose: ['umount', '{directory}'] });
    const directory = path.join(disks.directory, 'never-exposed');
    await mkdir(directory);
    await provider.unexpose({ snapshot: ref, path: directory });
    const failing = await prepare({ ...arrayCommands(store), unexpose: ['false'] });
    await must('mount', '-t', 'tmpfs', 'none', directory);
    await expect(failing.provider.unexpose({ snapshot: failing.ref, path: directory })).rejects.toMatchObject(
      {
        code: 'cleanupIncomplete',
      },
    );
    expect(await disks.leftovers()).toEqual({ mountpoints: [], loopDevices: [] });
  });
});
