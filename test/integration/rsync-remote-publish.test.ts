import { mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RemoteAttempt } from '../../src/copy/rsync-remote/rsync-remote-attempt.js';
import { RsyncRemoteStore } from '../../src/copy/rsync-remote/rsync-remote-store.js';
import { exists } from '../../src/system/exists.js';
import { hostLabel } from '../../src/system/host-label.js';
import { runCommand } from '../../src/system/run-command.js';
import { parseSshPlace, SshClient } from '../../src/system/ssh-place.js';
import { badDisk } from '../support/bad-disk.js';
import { describeNeeding } from '../support/capabilities.js';
import { must, throwawayDisks } from '../support/throwaway-filesystem.js';

const LONG_MS = 300_000;
const SIGNAL = new AbortController().signal;
const MIB = 1024 ** 2;
const PATH = '/usr/sbin:/usr/bin:/sbin:/bin';
const [FIRST, SECOND] = [
  { job: 'srv', backupId: '20261123T184500Z-1a2b3c' },
  { job: 'srv', backupId: '20261123T184501Z-4d5e6f' },
];

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), 'rsync-publish-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

/** A place in `root` that is reached by a shell with the programs of `search`, as ssh would start it. */
async function storeIn(root: string, { shell = ['sh'], search = PATH } = {}): Promise<RsyncRemoteStore> {
  await mkdir(root, { recursive: true });
  await writeFile(path.join(root, '.fsbackup-repository'), `${'0'.repeat(32)}\n`);
  const place = parseSshPlace(`ssh://root@host${root}`);
  if (place === undefined) throw new Error('no such place');
  return new RsyncRemoteStore(
    { place, ssh: new SshClient(place), name: 'there' },
    async (argv, options) =>
      await runCommand(['env', `PATH=${search}`, ...shell, '-c', argv.at(-1) ?? ''], options),
  );
}

async function begin(attempt: RemoteAttempt, name: string, former?: string): Promise<void> {
  await attempt.trees(SIGNAL).prepare(former);
  await writeFile(path.join(attempt.tree, name), name);
}

async function publish(attempt: RemoteAttempt, note = '{}'): Promise<void> {
  await attempt.publish({ note, list: undefined }, SIGNAL);
}

describe('what is published on another host', () => {
  let root: string;
  beforeEach(() => {
    root = path.join(directory, 'there');
  });

  async function below(...names: string[]): Promise<string[]> {
    return (await readdir(path.join(root, 'srv', ...names))).toSorted();
  }

  /** A store whose sync of what lies there waits, the `nth` time that it is asked for, until it is let on. */
  async function heldAt(nth: number): Promise<{
    store: RsyncRemoteStore;
    isHeld: () => Promise<void>;
    letOn: () => Promise<void>;
  }> {
    const [bin, held, on] = ['bin', 'held', 'on'].map((name) => path.join(directory, name));
    await mkdir(bin ?? '');
    const script = `#!/bin/sh
if [ "$*" = '-f .' ]; then
  echo >>'${directory}/asked'
  if [ "$(wc -l <'${directory}/asked')" -eq ${nth} ]; then
    : >'${held}'
    while [ -d '${directory}' ] && ! [ -e '${on}' ]; do sleep 0.05; done
  fi
fi
PATH=${PATH} exec sync "$@"
`;
    await writeFile(path.join(bin ?? '', 'sync'), script, { mode: 0o755 });
    return {
      store: await storeIn(root, { search: `${bin}:${PATH}` }),
      isHeld: async () => {
        while (!(await exists(held ?? ''))) await sleep(10);
      },
      letOn: async () => await writeFile(on ?? '', ''),
    };
  }

  it.each([
    ['before it was named', 1],
    ['after it was named', 2],
  ])(
    'is not what a script names that outlived its connection, and waited for the disk %s',
    async (_, nth) => {
      const { store, isHeld, letOn } = await heldAt(nth);
      const [first, second] = [store.attempt(FIRST), store.attempt(FIRST)];
      await begin(first, 'one');
      const stale = publish(first, '{"first": 1}').then(
        () => 'published',
        () => 'failed',
      );
      await isHeld();
      const found = await second.trees(SIGNAL).prepare(FIRST.backupId);
      expect(found.hasEarlier).toBe(true);
      await mkdir(path.join(second.tree, 'half'));
      await letOn();
      expect(await stale).toBe(nth === 1 ? 'failed' : 'published');
      expect((await below()).filter((name) => !name.startsWith('.'))).toEqual([]);
      expect(await readdir(second.tree)).toEqual(['half']);
      expect(await readdir(second.trees(SIGNAL).earlier)).toEqual(['one']);
      await publish(second, '{"second": 1}');
      expect(await below()).toEqual([FIRST.backupId, `${FIRST.backupId}.json`]);
      expect(await below(FIRST.backupId)).toEqual(['half']);
      expect(await readFile(path.join(root, 'srv', `${FIRST.backupId}.json`), 'utf8')).toBe('{"second": 1}');
    },
    LONG_MS,
  );

  it('is that of each host, though two have one name', async () => {
    const store = await storeIn(root);
    const one = store.attempt(FIRST, 'web@0123456789abcdef');
    const other = store.attempt(SECOND, 'web@fedcba9876543210');
    await begin(one, 'one');
    await begin(other, 'other');
    await publish(one);
    expect(await readdir(other.tree)).toEqual(['other']);
    await publish(other);
    expect(await below(FIRST.backupId)).toEqual(['one']);
    expect(await below(SECOND.backupId)).toEqual(['other']);
    expect((await below()).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  it('is nothing of a clone that has our id, too, and its copy fails', async () => {
    const store = await storeIn(root);
    const [one, clone] = [store.attempt(FIRST, 'web@0'), store.attempt(SECOND, 'web@0')];
    await begin(one, 'one');
    // It goes on from a copy of its own.
    const found = await clone.trees(SIGNAL).prepare('20261122T184500Z-777777');
    expect(found).toMatchObject({ hasEarlier: false, hasKnown: false });
    await writeFile(path.join(clone.tree, 'clone'), '');
    await expect(publish(one)).rejects.toThrow('another copy has taken the place of this one');
    await publish(clone);
    expect(await below()).toEqual([SECOND.backupId, `${SECOND.backupId}.json`]);
    expect(await below(SECOND.backupId)).toEqual(['clone']);
  });

  it('goes on from what an earlier version left, or removes it, and leaves what is of others', async () => {
    const store = await storeIn(root);
    const host = hostLabel();
    const leave = async (): Promise<void> => {
      for (const name of ['', '+known', '+new', '+partial'])
        await mkdir(path.join(root, 'srv', `.incomplete-${host}${name}`, `of${name}`), { recursive: true });
      for (const name of [`.note-${host}`, `.digests-${host}`])
        await writeFile(path.join(root, 'srv', name), '');
    };
    const others = ['.incomplete-other', `.incomplete-${host}-b`, `.incomplete-${host}-b@0=1`];
    for (const name of others) await mkdir(path.join(root, 'srv', name), { recursive: true });
    await leave();
    const attempt = store.attempt(SECOND);
    const trees = attempt.trees(SIGNAL);
    // Of whichever host of that name it is: it is to be read.
    expect(await trees.prepare(FIRST.backupId)).toEqual({ instance: '', hasEarlier: true, hasKnown: true });
    expect(await readdir(trees.earlier)).toEqual(['of']);
    expect(await readdir(trees.known)).toEqual(['of+known']);
    expect(await readdir(attempt.partial)).toEqual(['of+partial']);
    const name = path.basename(path.dirname(attempt.tree));
    expect(await below()).toEqual([...others, name].toSorted());
    await attempt.abandon();
    expect(await below()).toEqual(others.toSorted());
    await leave();
    const next = store.attempt(SECOND);
    expect(await next.trees(SIGNAL).prepare(undefined)).toMatchObject({ hasEarlier: false, hasKnown: false });
    expect(await readdir(path.join(next.tree, '..'))).toEqual(['copies', 'tree']);
    await publish(next);
    expect(await below()).toEqual([SECOND.backupId, `${SECOND.backupId}.json`, ...others].toSorted());
  });
});

const NEEDS = ['root', 'loop', 'ext4', 'program:busybox'] as const;

describeNeeding(NEEDS, 'a disk of another host that does not take what was written', () => {
  const disks = throwawayDisks(afterAll);
  let count = 0;

  /** An ext4 that takes all but what lies from 40 to 100 MiB of its disk, and says so to nobody who does not ask. */
  async function rootOnBadDisk(): Promise<string> {
    count += 1;
    const { mountpoint } = await badDisk(disks, `bad-${count}`);
    return path.join(mountpoint, 'backups');
  }

  async function writeMuch(attempt: RemoteAttempt): Promise<void> {
    const file = await open(path.join(attempt.tree, 'much'), 'w');
    await file.write(Buffer.alloc(70 * MIB, 'much'));
    await file.close();
  }

  async function busybox(): Promise<{ shell: string[]; search: string }> {
    const search = path.join(directory, 'busybox');
    await mkdir(search);
    const program = await must('sh', '-c', 'command -v busybox');
    await must(program, '--install', '-s', search);
    return { shell: ['busybox', 'sh'], search };
  }

  /** Programs of a kernel that tells of single files alone. */
  async function ofOldKernel(): Promise<{ search: string }> {
    const old = path.join(directory, 'old');
    await mkdir(old);
    await writeFile(path.join(old, 'uname'), '#!/bin/sh\necho 5.4.0-150-generic\n', { mode: 0o755 });
    const sync = `#!/bin/sh\nPATH=${PATH} sync "$@" || [ "$1" = -f ]\n`;
    await writeFile(path.join(old, 'sync'), sync, { mode: 0o755 });
    return { search: `${old}:${PATH}` };
  }

  it.each([
    ['coreutils', async () => await Promise.resolve({})],
    ['busybox', busybox],
    ['coreutils of an old kernel', ofOldKernel],
  ])(
    'has nothing published, told by %s',
    async (_, tools) => {
      const root = await rootOnBadDisk();
      const store = await storeIn(root, await tools());
      const attempt = store.attempt(FIRST);
      await begin(attempt, 'small');
      await publish(attempt);
      const next = store.attempt(SECOND);
      await begin(next, 'small');
      await writeMuch(next);
      await expect(publish(next)).rejects.toThrow(/No space left on device|Input\/output error/);
      expect(await exists(path.join(root, 'srv', SECOND.backupId))).toBe(false);
      await next.abandon();
      await store.remove(SECOND);
      expect((await readdir(path.join(root, 'srv'))).toSorted()).toEqual([
        FIRST.backupId,
        `${FIRST.backupId}.json`,
      ]);
    },
    LONG_MS,
  );

  it(
    'is told to those beside who was told, of whom nothing is kept either',
    async () => {
      const root = await rootOnBadDisk();
      const store = await storeIn(root);
      const one = store.attempt(FIRST, 'one@1');
      const other = store.attempt({ job: 'etc', backupId: SECOND.backupId }, 'other@2');
      await begin(one, 'small');
      await begin(other, 'small');
      await writeMuch(other);
      await expect(publish(one)).rejects.toThrow(/No space left on device|Input\/output error/);
      await expect(publish(other)).rejects.toThrow(
        'Input/output error, which a copy beside this one was told of',
      );
      expect((await readdir(path.join(root, 'etc'))).filter((name) => /^2\d+T\d+Z-\w+$/.test(name))).toEqual(
        [],
      );
      const found = await other.trees(SIGNAL).prepare(SECOND.backupId);
      expect(found).toMatchObject({ hasEarlier: false, hasKnown: false });
      expect(await readdir(other.tree)).toEqual([]);
    },
    LONG_MS,
  );
});
