import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MAX_NOTE_BYTES } from '../../src/copy/rsync-remote/rsync-remote-note.js';
import type { RemoteAttempt } from '../../src/copy/rsync-remote/rsync-remote-attempt.js';
import { RsyncRemoteStore } from '../../src/copy/rsync-remote/rsync-remote-store.js';
import { runCommand, type CommandOptions, type CommandResult } from '../../src/system/run-command.js';
import { parseSshPlace, SshClient } from '../../src/system/ssh-place.js';

const SIGNAL = new AbortController().signal;
const backup = { job: 'srv', backupId: '20261123T184500Z-1a2b3c' };

// The login's shell alone is at work here, as ssh would start it.
describe.each(['sh', 'bash'])('the directory of another host, whose shell is %s', (shell) => {
  let directory: string;
  let root: string;
  let list: string;

  beforeEach(async () => {
    directory = await mkdtemp(path.join(os.tmpdir(), 'rsync-store-'));
    root = path.join(directory, 'a "root" $HOME');
    list = path.join(directory, 'list');
    await mkdir(root);
    await writeFile(path.join(root, '.fsbackup-repository'), `${'0'.repeat(32)}\n`);
    await writeFile(list, 'digests');
  });
  afterEach(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  function storeOver(run: typeof runCommand): RsyncRemoteStore {
    const place = parseSshPlace(`ssh://root@host${root}`);
    if (place === undefined) throw new Error('no such place');
    return new RsyncRemoteStore({ place, ssh: new SshClient(place), name: 'there' }, run);
  }
  async function local(
    argv: readonly string[],
    options?: CommandOptions,
    under: readonly string[] = [],
  ): Promise<CommandResult> {
    const [file, ...rest] = [...under, shell, '-c', argv.at(-1) ?? ''];
    return await runCommand([file ?? shell, ...rest], options);
  }

  function at(...names: string[]): string {
    return path.join(root, 'srv', ...names);
  }

  async function copied(store: RsyncRemoteStore): Promise<RemoteAttempt> {
    const attempt = store.attempt(backup);
    await attempt.trees(SIGNAL).prepare(undefined);
    await mkdir(path.join(attempt.tree, 'srv'));
    return attempt;
  }

  /** What lies in the directory of the one attempt that there is. */
  async function inAttempt(): Promise<string[]> {
    const [name = '', ...others] = (await readdir(at())).filter((one) => one.startsWith('.incomplete-'));
    expect(others).toEqual([]);
    return (await readdir(at(name))).toSorted();
  }

  it('keeps what was broken off, if asked to, and tells in which boot of the place', async () => {
    const store = storeOver(local);
    const trees = store.attempt(backup).trees(SIGNAL);
    const nothing = { hasEarlier: false, hasKnown: false };
    const first = await trees.prepare(undefined);
    expect(first).toMatchObject(nothing);
    expect(first.instance).toContain((await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim());
    await writeFile(path.join(trees.incomplete, 'one'), '1');
    expect(await trees.prepare(backup.backupId)).toMatchObject({ hasEarlier: true, hasKnown: false });
    // A kill before `renew`: what was broken off is still there, and nothing was copied after it.
    expect(await trees.prepare(backup.backupId)).toMatchObject({ hasEarlier: true, hasKnown: false });
    expect(await readdir(trees.earlier)).toEqual(['one']);
    await mkdir(trees.fresh);
    await writeFile(path.join(trees.fresh, 'two'), '2');
    await trees.renew();
    expect(await readdir(trees.known)).toEqual(['two']);
    expect(await readdir(at())).toHaveLength(1);
    expect(await inAttempt()).toEqual(['copies', 'known', 'tree']);
    expect(await trees.prepare(undefined)).toEqual(first);
    expect(await readdir(at())).toHaveLength(1);
    expect(await inAttempt()).toEqual(['copies', 'tree']);
  });

  it('goes on from what was published when nobody heard of it', async () => {
    const store = storeOver(local);
    const attempt = await copied(store);
    await attempt.publish({ note: '{}', list }, SIGNAL);
    const next = { job: 'srv', backupId: '20261124T184500Z-4d5e6f' };
    const trees = store.attempt(next).trees(SIGNAL);
    expect(await trees.prepare(backup.backupId)).toMatchObject({
      hasEarlier: true,
    });
    expect(await readdir(trees.earlier)).toEqual(['srv']);
    expect(await readdir(at())).toHaveLength(1);
    expect(await inAttempt()).toEqual(['copies', 'earlier', 'tree']);
  });

  it('has a note and a list beside each tree, before its name, and they go with it', async () => {
    const store = storeOver(local);
    const attempt = await copied(store);
    await attempt.publish({ note: '{"ü": 1}\n', list }, SIGNAL);
    const { backupId } = backup;
    expect((await readdir(at())).toSorted()).toEqual([
      backupId,
      `${backupId}.digests.gz`,
      `${backupId}.json`,
    ]);
    expect(await readFile(at(`${backupId}.json`), 'utf8')).toBe('{"ü": 1}\n');
    const file = path.join(directory, 'fetched');
    expect(await store.fetchList(backup, { file, sizeBytes: 7 }, SIGNAL)).toBe(true);
    expect(await readFile(file, 'utf8')).toBe('digests');
    expect(await store.fetchList(backup, { file, sizeBytes: 6 }, SIGNAL)).toBe(true);
    expect(await readFile(file, 'utf8')).toBe('');

    // One that has no list does not get that of another.
    await writeFile(path.join(path.dirname((await copied(store)).tree), 'digests.gz'), 'old');
    const other = await copied(store);
    expect((await readdir(at())).filter((name) => !name.startsWith('.incomplete'))).toEqual([]);
    await other.publish({ note: '{}', list: undefined }, SIGNAL);
    expect(await store.fetchList(backup, { file, sizeBytes: 7 }, SIGNAL)).toBe(false);

    await store.remove(backup);
    expect(await readdir(at())).toEqual([]);
    await store.remove(backup);
  });

  it.each([1, 2])('publishes nothing when what is sent as number %d breaks off', async (broken) => {
    let sent = 0;
    const store = storeOver(async (argv, options) => {
      if (options?.stdinFrom === undefined) return await local(argv, options);
      sent += 1;
      return await local(argv, sent === broken ? { ...options, stdinFrom: Readable.from(['x']) } : options);
    });
    const attempt = await copied(store);
    await expect(attempt.publish({ note: '{}\n', list }, SIGNAL)).rejects.toThrow('came cut short');
    expect((await readdir(at())).filter((name) => !name.startsWith('.'))).toEqual([]);
    await attempt.abandon();
    await store.remove(backup);
    expect(await readdir(at())).toEqual([]);
  });

  it('tells of trees alone, of the notes that are none, and passes over what is not one', async () => {
    const id = (end: string): string => `20261123T184500Z-${end}`;
    for (const end of ['aaaa', 'bbbb', 'cccc']) await mkdir(at(id(end), 'srv'), { recursive: true });
    await writeFile(at(id('aaaa'), '.file\nname'), '');
    await symlink('nowhere', at(id('aaaa'), '..link'));
    await writeFile(
      at(`${id('bbbb')}.json`),
      'fsbackup: backup srv 20261123T184500Z-dddd\nfsbackup: top x\n',
    );
    await writeFile(at(`${id('cccc')}.json`), '');
    await truncate(at(`${id('cccc')}.json`), 100 * MAX_NOTE_BYTES);
    // Neither a note without its tree, nor what is incomplete, nor a symlink, nor a file.
    await writeFile(at(`${id('eeee')}.json`), '{}');
    await mkdir(at('.incomplete-host'));
    await symlink(id('aaaa'), at(id('ffff')));
    await writeFile(at(id('abcd')), '');
    await mkdir(path.join(root, '-rf', id('aaaa')), { recursive: true });
    await symlink('srv', path.join(root, 'linked'));
    await mkdir(path.join(root, 'lost+found'));

    const begunAt = new Date('2026-11-23T18:45:00Z');
    expect(await storeOver(local).find(SIGNAL)).toEqual([
      { job: 'srv', backupId: id('aaaa'), begunAt, top: ['/srv', '/.file', '/..link'], note: undefined },
      { job: 'srv', backupId: id('bbbb'), begunAt, top: ['/srv'], note: { problem: 'it is no JSON' } },
      {
        job: 'srv',
        backupId: id('cccc'),
        begunAt,
        top: ['/srv'],
        note: { problem: 'it is too large to be one' },
      },
    ]);
    const last = await storeOver(local).findLast(backup, SIGNAL);
    expect(last).toBe(at(id('cccc')));
  });

  it('is no place for backups without its mark, and what may not be looked into is no empty place', async () => {
    await rm(path.join(root, '.fsbackup-repository'));
    await expect(storeOver(local).find(SIGNAL)).rejects.toThrow('is not a place for backups');
    await writeFile(path.join(root, '.fsbackup-repository'), '');
    expect(await storeOver(local).find(SIGNAL)).toEqual([]);

    await mkdir(at());
    await chmod(at(), 0);
    for (const one of [directory, root]) await chmod(one, 0o755);
    const nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
    const powerless: typeof runCommand = (argv, options) =>
      local(argv, options, process.getuid?.() === 0 ? nobody : []);
    await expect(storeOver(powerless).find(SIGNAL)).rejects.toThrow(/cd: .*srv/);
  });
});
