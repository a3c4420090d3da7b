import {
  chmod,
  link,
  lstat,
  mkdir,
  readFile,
  readdir,
  rename,
  rm,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { rmSync } from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import type { CopyRequest } from '../../src/copy/engine.js';
import { createRsyncEngine } from '../../src/copy/rsync/rsync-engine.js';
import { makeRunId } from '../../src/run/run-id.js';
import { runCommand } from '../../src/system/run-command.js';
import { compareTrees } from '../support/compare-trees.js';
import { describeNeeding } from '../support/capabilities.js';
import { restoreRequest, verifyWith, WHOLE } from '../support/engine-requests.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

async function inode(...names: string[]): Promise<number> {
  return (await lstat(path.join(...names))).ino;
}

describeNeeding(
  ['root', 'loop', 'ext4', 'xfs', 'program:rsync', 'program:setfattr'],
  'the rsync engine beside its parent',
  () => {
    const disks = throwawayDisks(afterAll);
    const engine = createRsyncEngine();
    let disk: ThrowawayFilesystem;
    let original: string;
    let count = 0;

    beforeAll(async () => {
      disk = await disks.filesystem({ fstype: 'ext4', sizeMiB: 512 });
    });

    beforeEach(async () => {
      count += 1;
      original = path.join(disk.mountpoint, `original-${count}`);
      await mkdir(original);
    });

    async function place(name: string): Promise<string> {
      const directory = path.join(disk.mountpoint, `${name}-${count}`, 'data');
      await mkdir(directory, { recursive: true, mode: 0o700 });
      return directory;
    }

    function request(dataDirectory: string, parent?: string, more: Partial<CopyRequest> = {}): CopyRequest {
      return {
        backup: { job: 'srv', backupId: '20261123T184500Z-1a2b3c' },
        sources: [{ path: '/srv', readFrom: original, exclude: [] }],
        dataDirectory,
        parentDataDirectory: parent,
        signal: new AbortController().signal,
        onProgress: () => undefined,
        ...more,
      };
    }

    afterEach(() => {
      vi.useRealTimers();
    });

    /** With digests, beside the parent's. */
    function following(data: string, parent?: string): Partial<CopyRequest> {
      const listOf = (of: string): string => path.join(path.dirname(of), 'digests.gz');
      const list = parent === undefined ? undefined : { file: listOf(parent), algorithm: 'xxh128' };
      return { digests: { file: listOf(data), parent: list }, parentBackupId: makeRunId(new Date()) };
    }

    it('links what did not change and copies what did, within the same second too', async () => {
      const at = (name: string): string => path.join(original, name);
      for (const name of ['same', 'new content', 'new mode', 'gone'])
        await writeFile(at(name), `one ${name}`);
      await must('ln', '-s', 'same', at('symlink'));
      await utimes(at('new content'), 0, 1_000_000_000.25);
      const [first, second] = [await place('first'), await place('second')];
      await engine.copy(request(first, undefined, following(first)));
      // As if all changes were older than that: size and time alone are looked at.
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 3_600_000 });

      await writeFile(at('new content'), 'two new content');
      await utimes(at('new content'), 0, 1_000_000_000.5);
      await chmod(at('new mode'), 0o600);
      await rm(at('gone'));
      const result = await engine.copy(request(second, first, following(second, first)));
      expect(result).toMatchObject({ bytes: expect.any(Number) as number, files: 4, unreadable: [] });

      for (const name of ['same', 'symlink']) {
        expect(await inode(second, 'srv', name)).toBe(await inode(first, 'srv', name));
      }
      for (const name of ['new content', 'new mode']) {
        expect(await inode(second, 'srv', name)).not.toBe(await inode(first, 'srv', name));
      }
      expect(await readFile(path.join(second, 'srv', 'new content'), 'utf8')).toBe('two new content');
      expect(await compareTrees(original, path.join(second, 'srv'))).toEqual([]);
      expect(await readFile(path.join(first, 'srv', 'new content'), 'utf8')).toBe('one new content');
      expect(await readdir(path.join(first, 'srv'))).toContain('gone');
    });

    it('brings what was replaced by what has the same size and time, and links the rest', async () => {
      const inner = await place('inner');
      const at = (name: string): string => path.join(original, name);
      for (const name of ['sub', 'out', 'mounted']) await mkdir(at(name));
      const names = [
        'top',
        'sub/file',
        'sub/moved',
        'sub/a',
        'out/left',
        'mounted/inner',
        '\n odd => \u{e9}',
      ];
      const write = async (file: string, text: string): Promise<void> => {
        await writeFile(file, text);
        await utimes(file, 0, 1_000_000_000.25);
      };
      for (const name of names) await write(at(name), 'one');
      await write(path.join(inner, 'inner'), 'two');
      await link(at('sub/a'), at('b'));
      const all = ['.', 'sub', 'out', 'mounted'];
      for (const name of all) await utimes(at(name), 0, 1_000_000_000);
      const sources = [
        { path: '/srv', readFrom: original, exclude: ['out/left'] },
        { path: '/srv/mounted', readFrom: inner, exclude: [] },
      ];
      const [first, second] = [await place('first'), await place('second')];
      await engine.copy(request(first, undefined, { ...following(first), sources }));

      for (const name of ['top', 'sub/file', '\n odd => \u{e9}']) {
        await write(at('new'), 'ONE');
        await rename(at('new'), at(name));
      }
      for (const name of ['sub/a', 'out/left']) await write(at(name), 'ONE');
      await rename(at('sub/moved'), at('moved'));
      await rename(at('moved'), at('sub/moved'));
      for (const name of all) await utimes(at(name), 0, 1_000_000_000);
      const done = await engine.copy(request(second, first, { ...following(second, first), sources }));
      expect(done).toMatchObject({ unreadable: [], digests: { unknown: 0 } });

      await rm(at('out/left'));
      await rm(at('mounted'), { recursive: true });
      await must('cp', '-a', inner, at('mounted'));
      for (const name of ['.', 'out']) await utimes(at(name), 0, 1_000_000_000);
      expect(await compareTrees(original, path.join(second, 'srv'))).toEqual([]);
      expect(await inode(second, 'srv/sub/a')).toBe(await inode(second, 'srv/b'));
      for (const name of ['sub/moved', 'mounted/inner'])
        expect(await inode(second, 'srv', name)).toBe(await inode(first, 'srv', name));
      for (const name of ['top', 'sub/file', 'b'])
        expect(await readFile(path.join(first, 'srv', name), 'utf8')).toBe('one');
      const list = { file: path.join(path.dirname(second), 'digests.gz'), algorithm: 'xxh128' };
      const scratch = await place('scratch');
      expect(await verifyWith(engine, { dataDirectory: second, digests: list, scratch })).toMatchObject(
        WHOLE,
      );
      expect(await readdir(path.dirname(second))).not.toContain('digests.gz.raw.changed');
    });

    it('leaves the files of earlier backups as they are, whatever becomes of a live tree meanwhile', async () => {
      const at = (name: string): string => path.join(original, name);
      for (const name of ['same', 'replaced']) {
        await writeFile(at(name), 'one', { mode: 0o600 });
        await utimes(at(name), 0, 1_000_000_000.25);
      }
      const [first, second] = [await place('first'), await place('second')];
      await engine.copy(request(first, undefined, following(first)));
      const before = path.join(disk.mountpoint, `before-${count}`);
      await must('cp', '-a', path.join(first, 'srv'), before);

      await writeFile(at('replaced'), 'two');
      await utimes(at('replaced'), 0, 1_000_000_000.25);
      let isCopied = false;
      const changing = createRsyncEngine(async (argv, options) => {
        const result = await runCommand(argv, options);
        if (isCopied || !argv.includes(`${original}/`)) return result;
        isCopied = true;
        for (const name of ['same', 'replaced']) {
          await chmod(at(name), 0o644);
          await must('chown', '7:8', at(name));
          await must('setfattr', '-n', 'user.x', '-v', 'y', at(name));
          await utimes(at(name), 0, 1_100_000_000);
        }
        return result;
      });
      await changing.copy(request(second, first, following(second, first)));
      expect(await compareTrees(before, path.join(first, 'srv'))).toEqual([]);
      expect(await inode(second, 'srv/same')).toBe(await inode(first, 'srv/same'));
      expect(await readFile(path.join(second, 'srv/replaced'), 'utf8')).toBe('two');
      const { mode, uid, mtimeMs } = await lstat(path.join(second, 'srv/replaced'));
      expect({ mode: mode & 0o7777, uid, mtimeMs }).toEqual({ mode: 0o644, uid: 7, mtimeMs: 1.1e12 });
    });

    it('keeps nothing of before in place of what cannot be read again', async () => {
      const name = 'sub/\u{e9} file';
      await mkdir(path.join(original, 'sub'));
      const write = async (text: string): Promise<void> => {
        await writeFile(path.join(original, name), text);
        await utimes(path.join(original, name), 0, 1_000_000_000);
      };
      await write('one');
      const [first, second] = [await place('first'), await place('second')];
      await engine.copy(request(first, undefined, following(first)));
      await write('two');
      const losing = createRsyncEngine((argv, options) => {
        if (argv.includes('--files-from=-')) rmSync(path.join(original, name));
        return runCommand(argv, options);
      });
      const result = await losing.copy(request(second, first, following(second, first)));
      expect(result.unreadable).toEqual([`/srv/${name}`]);
      expect(await readdir(path.join(second, 'srv/sub'))).toEqual([]);
      expect(await readFile(path.join(first, 'srv', name), 'utf8')).toBe('one');
    });

    it('leaves out and names what has a longer path than there can be', async () => {
      const chain = 'n=$(printf x%.0s {1..200}); for i in {1..22}; do mkdir $n && cd $n || exit 1; done';
      await must('bash', '-c', `cd "$1" && ${chain}; echo > file`, 'bash', original);
      await writeFile(path.join(original, 'file'), 'file');
      const [first, second] = [await place('first'), await place('second')];
      const deep = `/srv${`/${'x'.repeat(200)}`.repeat(21)}`;
      const copied = await engine.copy(request(first, undefined, following(first)));
      expect(copied.unreadable.map((one) => one.slice(0, 4100))).toEqual([deep.slice(0, 4100)]);
      await chmod(path.join(original, 'file'), 0o600);
      const again = await engine.copy(request(second, first, following(second, first)));
      expect(again.unreadable).toEqual(copied.unreadable);
      expect(await readFile(path.join(second, 'srv', 'file'), 'utf8')).toBe('file');
    });

    it('names by their own names what the target, and where it is restored to, cannot hold', async () => {
      const roomy = (await disks.filesystem({ fstype: 'xfs', sizeMiB: 320 })).mountpoint;
      const names = ['.hidden', 'file', '.named.like.abcdef'];
      const big = ['-n', 'user.big', '-v', 'x'.repeat(9000)];
      for (const name of names) {
        await writeFile(path.join(roomy, name), name);
        await must('setfattr', ...big, path.join(roomy, name));
      }
      const live = names.map((name) => `/srv/${name}`).toSorted();
      const sources = [{ path: '/srv', readFrom: roomy, exclude: [] }];
      const [data, out] = [await place('data'), await place('out')];
      const copied = await engine.copy(request(data, undefined, { sources }));
      expect([...copied.unreadable].toSorted()).toEqual(live);

      const whole = path.join(roomy, 'whole');
      await mkdir(path.join(whole, 'srv'), { recursive: true });
      await must('cp', '-a', ...names.map((name) => path.join(roomy, name)), path.join(whole, 'srv'));
      const restored = await engine.restore({ ...restoreRequest(sources, whole, out), isEmpty: true });
      expect([...restored.unreadable].toSorted()).toEqual(live);
    });

    it('names what loses its ACL, where it goes to has none', async () => {
      await mkdir(path.join(original, 'sub'));
      await writeFile(path.join(original, 'sub/key'), 'key');
      await must('setfacl', '-m', 'u:123:rw', path.join(original, 'sub/key'));
      const without = path.join(disk.mountpoint, `ramfs-${count}`);
      await mkdir(without);
      await must('mount', '-t', 'ramfs', 'none', without);
      try {
        const data = path.join(without, 'data');
        await mkdir(data);
        const copied = await engine.copy(request(data));
        expect(copied.unreadable).toEqual(['/srv/sub/key']);
        expect(await readFile(path.join(data, 'srv/sub/key'), 'utf8')).toBe('key');
      } finally {
        await must('umount', without);
      }
    });

    it('tells in its own words what is not understood of an rsync beside what is', async () => {
      await writeFile(path.join(original, 'file'), 'file');
      const strange = 'rsync: [receiver] set_more(file): Operation not supported (95)';
      const saying = createRsyncEngine(async (argv, options) => {
        const result = await runCommand(argv, options);
        if (argv[0] !== 'rsync' || argv.includes('--version')) return result;
        for (const line of ['file has vanished: "/srv/gone"', strange]) options?.onStderrLine?.(line);
        return { ...result, exitCode: 23 };
      });
      const copied = await saying.copy(request(await place('first')));
      expect(copied.unreadable).toEqual(['/srv/gone', strange]);
    });

    it('copies nothing to below the mountpoint of a disk that is taken away in between', async () => {
      const target = path.join(disk.mountpoint, `target-${count}`);
      await mkdir(target);
      await must('mount', '-t', 'tmpfs', 'none', target);
      const data = path.join(target, 'srv/id/data');
      await mkdir(data, { recursive: true });
      await writeFile(path.join(original, 'file'), 'file');
      let copies = 0;
      const losing = createRsyncEngine(async (argv, options) => {
        const result = await runCommand(argv, options);
        if (argv[0] !== 'rsync' || argv.includes('--version')) return result;
        copies += 1;
        if (copies === 1) await must('umount', '--lazy', target);
        return result;
      });
      const sources = ['/a', '/b'].map((name) => ({ path: name, readFrom: original, exclude: [] }));
      await expect(losing.copy(request(data, undefined, { sources }))).rejects.toMatchObject({
        code: 'copyFailed',
      });
      expect([copies, await readdir(target)]).toEqual([1, []]);
    });

    it('names files that vanish while a live tree is copied', async () => {
      await must('dd', 'if=/dev/urandom', `of=${original}/a-large`, 'bs=1M', 'count=24', 'status=none');
      for (const name of ['y', 'z']) await writeFile(path.join(original, name), name);
      // Slow enough for rsync to tell of its progress before it comes to the last file.
      const slow = createRsyncEngine((argv, options) =>
        runCommand([argv[0], '--bwlimit=8m', ...argv.slice(1)], options),
      );
      const data = await place('data');
      const onProgress = (): void => rmSync(path.join(original, 'z'), { force: true });
      const result = await slow.copy(request(data, undefined, { onProgress }));
      expect(result.unreadable).toEqual(['/srv/z']);
      expect((await readdir(path.join(data, 'srv'))).toSorted()).toEqual(['a-large', 'y']);
    });
  },
);
