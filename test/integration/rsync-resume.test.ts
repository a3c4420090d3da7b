import { chmod, mkdir, open, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import type { DigestList } from '../../src/copy/engine.js';
import { createRsyncEngine } from '../../src/copy/rsync/rsync-engine.js';
import { makeRunId } from '../../src/run/run-id.js';
import { runCommand } from '../../src/system/run-command.js';
import { compareTrees } from '../support/compare-trees.js';
import { describeNeeding } from '../support/capabilities.js';
import { copyRequest, verifyWith, WHOLE } from '../support/engine-requests.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

/** One that is there before anything is copied, and one that a later copy finds changed. */
const [OLD, NEW] = [1_000_000_000.25, 1_000_000_000.5];
const HOUR_MS = 3_600_000;

describeNeeding(['root', 'loop', 'ext4', 'program:rsync'], 'a copy by rsync that was broken off', () => {
  const disks = throwawayDisks(afterAll);
  const engine = createRsyncEngine();
  let disk: ThrowawayFilesystem;
  let original: string;
  let place: string;
  let count = 0;
  /** The name of what was begun before anything changed, or only after all that a test changes. */
  let idBefore: string;
  let idAfter: string;
  let isChangeSeen = false;

  beforeAll(async () => {
    disk = await disks.filesystem({ fstype: 'ext4', sizeMiB: 64 });
  });

  beforeEach(async () => {
    count += 1;
    place = path.join(disk.mountpoint, `place-${count}`);
    original = path.join(place, 'original');
    await mkdir(original, { recursive: true });
    idBefore = makeRunId(new Date());
    idAfter = makeRunId(new Date(Date.now() + HOUR_MS));
    isChangeSeen = false;
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 2 * HOUR_MS });
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  async function write(name: string, text: string, time: number): Promise<void> {
    await writeFile(path.join(original, name), text);
    await utimes(path.join(original, name), 0, time);
  }

  /** A backup's directory, as the store makes it. */
  async function begin(name: string): Promise<string> {
    const data = path.join(place, name, 'data');
    await mkdir(data, { recursive: true, mode: 0o700 });
    return data;
  }

  function digestsIn(data: string): string {
    return path.join(path.dirname(data), 'digests.gz');
  }

  function request(
    data: string,
    parent?: { data: string; list?: DigestList },
  ): ReturnType<typeof copyRequest> {
    // A ctime cannot be set: what is to look older than a copy is copied later, by the clock.
    const backupId = isChangeSeen ? idBefore : idAfter;
    return copyRequest([{ path: '/srv', readFrom: original, exclude: [] }], data, {
      backup: { job: 'contract', backupId },
      parentDataDirectory: parent?.data,
      parentBackupId: backupId,
      digests: { file: digestsIn(data), parent: parent?.list },
    });
  }

  type Parent = Parameters<typeof request>[1];

  /** All is copied, and then it is broken off. */
  async function breakOff(data: string, parent?: Parent): Promise<void> {
    const failing = createRsyncEngine(async (argv, options) => {
      const result = await runCommand(argv, options);
      return argv.includes(`${original}/`) ? { ...result, exitCode: undefined, signal: 'SIGKILL' } : result;
    });
    await expect(failing.copy(request(data, parent))).rejects.toMatchObject({ code: 'copyFailed' });
  }

  /** Copies to the end, and proves that each file has the digest of what is in it. */
  async function complete(data: string, parent?: Parent): Promise<DigestList> {
    const { digests } = await engine.copy(request(data, parent));
    expect(digests?.unknown).toBe(0);
    expect(await compareTrees(original, path.join(data, 'srv'))).toEqual([]);
    const list = { file: digestsIn(data), algorithm: digests?.algorithm ?? '' };
    const scratch = path.join(place, `scratch-${path.basename(path.dirname(data))}`);
    await mkdir(scratch);
    expect(await verifyWith(engine, { dataDirectory: data, digests: list, scratch })).toMatchObject(WHOLE);
    expect((await readdir(path.dirname(data))).toSorted()).toEqual(['data', 'digests.gz']);
    return list;
  }

  /** Whether `again` leaves the file that a copy has where it is. It is held, or its number would be used again. */
  async function keeps(data: string, name: string, again: () => Promise<unknown>): Promise<boolean> {
    const file = path.join(data, 'srv', name);
    const held = await open(file);
    try {
      await again();
      return (await held.stat()).ino === (await stat(file)).ino;
    } finally {
      await held.close();
    }
  }

  it('is gone on with, time and again, and every file has the digest of its own content', async () => {
    await write('same', 'same', OLD);
    await write('changed', 'one', OLD);
    const first = await begin('first');
    const parent = { data: first, list: await complete(first) };
    const second = await begin('second');
    await write('changed', 'two', NEW);
    await must('ln', path.join(original, 'changed'), path.join(original, 'linked'));
    await write('new', 'new', OLD);
    await breakOff(second, parent);
    await write('later', 'later', OLD);
    await breakOff(second, parent);
    const isKept = await keeps(second, 'changed', () => complete(second, parent));
    expect(isKept).toBe(true);
    expect((await stat(path.join(second, 'srv/same'))).ino).toBe(
      (await stat(path.join(first, 'srv/same'))).ino,
    );
  });

  it('gives a file that is again what it was in the parent the digest that it has there', async () => {
    await write('file', 'one', OLD);
    const first = await begin('first');
    const parent = { data: first, list: await complete(first) };
    const second = await begin('second');
    await write('file', 'two', NEW);
    await breakOff(second, parent);
    await write('file', 'one', OLD);
    await complete(second, parent);
    expect((await stat(path.join(second, 'srv/file'))).ino).toBe(
      (await stat(path.join(first, 'srv/file'))).ino,
    );
  });

  it('brings what was replaced since by what has the same size and time', async () => {
    isChangeSeen = true;
    for (const name of ['same', 'changed']) await write(name, 'one', OLD);
    const data = await begin('data');
    await breakOff(data);
    await rm(path.join(original, 'changed'));
    await write('changed', 'two', OLD);
    const isKept = await keeps(data, 'same', () => breakOff(data));
    expect(isKept).toBe(true);
    await rm(path.join(original, 'same'));
    await write('same', 'two', OLD);
    await complete(data);
  });

  it('is read again where a note of before does not tell since when', async () => {
    for (const name of ['same', 'changed']) await write(name, 'one', OLD);
    const data = await begin('data');
    await breakOff(data);
    await breakOff(data);
    await edit(digestsIn(data), /,"since":"[^"]*"/, '');
    await write('changed', 'two', OLD);
    const list = await complete(data);
    expect(list.file).toBe(digestsIn(data));
  });

  it('knows what is from which where the parent has no digests of the same kind', async () => {
    await write('back', 'one', OLD);
    await write('forth', 'one', OLD);
    const first = await begin('first');
    await complete(first);
    const second = await begin('second');
    for (const name of ['back', 'forth']) await write(name, 'two', NEW);
    await breakOff(second, { data: first });
    await write('back', 'one', OLD);
    const { digests } = await engine.copy(request(second, { data: first }));
    expect(digests).toMatchObject({ entries: 3, unknown: 1 });
    const list = { file: digestsIn(second), algorithm: digests?.algorithm ?? '' };
    const scratch = await begin('scratch');
    const found = await verifyWith(engine, { dataDirectory: second, digests: list, scratch });
    expect(found).toMatchObject({ ...WHOLE, withoutDigest: 1 });
  });

  it('trusts no file whose digest was not recorded to its end', async () => {
    await write('a', 'one', OLD);
    const first = await begin('first');
    const parent = { data: first, list: await complete(first) };
    const second = await begin('second');
    for (const name of ['a', 'b']) await write(name, 'two', NEW);
    await breakOff(second, parent);
    const raw = `${digestsIn(second)}.raw`;
    const record = await readFile(raw, 'utf8');
    // A kill cuts the last line short: it looks as if it were of another file.
    await writeFile(raw, record.replace(/^(.* srv\/)b\n[^]*$/m, '$1'));
    expect(await keeps(second, 'b', () => complete(second, parent))).toBe(false);
  });

  it.each([
    ['records that are none', (list: string) => writeFile(`${list}.raw`, '\0'.repeat(4096) + '\n')],
    ['a list that is none', (list: string) => writeFile(`${list}.known.gz`, gzipSync('x').subarray(0, 12))],
    ['digests of another kind', (list: string) => edit(list, /"algorithm":"[^"]*"/, '"algorithm":"sha1"')],
    ['no note', (list: string) => rm(`${list}.resume`)],
    ['a note of who asked what was lost', (list: string) => edit(list, /\}\n$/, ',"isAsking":true}\n')],
  ])('is begun anew after %s', async (_, spoil) => {
    await write('a', 'one', NEW);
    const data = await begin('data');
    await breakOff(data);
    await breakOff(data);
    await spoil(digestsIn(data));
    expect(await keeps(data, 'a', () => complete(data))).toBe(false);
  });

  async function edit(list: string, pattern: RegExp, text: string): Promise<void> {
    const before = await readFile(`${list}.resume`, 'utf8');
    expect(before).toMatch(pattern);
    await writeFile(`${list}.resume`, before.replace(pattern, text));
  }

  /** The content of a file goes, its size and times stay: as a crash leaves one. */
  async function lose(file: string): Promise<void> {
    const { size, atime, mtime } = await stat(file);
    await writeFile(file, Buffer.alloc(size));
    await utimes(file, atime, mtime);
  }

  it('is gone on with by what is whole, where it is not known to be on disk', async () => {
    for (const name of ['lost', 'lost later', 'whole']) await write(name, 'one', NEW);
    const data = await begin('data');
    await breakOff(data);
    await lose(path.join(data, 'srv', 'lost'));
    await breakOff(data);
    await lose(path.join(`${data}+known`, 'srv', 'lost later'));
    expect(await keeps(data, 'whole', () => complete(data))).toBe(true);
  });

  it('is gone on with unread when all of it was on disk', async () => {
    await write('a', 'one', NEW);
    const data = await begin('data');
    await breakOff(data);
    await edit(digestsIn(data), /"isSynced":false/, '"isSynced":true');
    const reading: string[] = [];
    const watched = createRsyncEngine(async (argv, options) => {
      if (argv.includes('--checksum')) reading.push(argv.join(' '));
      return await runCommand(argv, options);
    });
    expect(await keeps(data, 'a', () => watched.copy(request(data)))).toBe(true);
    expect(reading).toEqual([]);
    expect(await readFile(path.join(data, 'srv', 'a'), 'utf8')).toBe('one');
  });

  it('is read where a note of before says that all of it was on disk, which others may have been told is not so', async () => {
    await write('a', 'one', NEW);
    const data = await begin('data');
    await breakOff(data);
    await edit(digestsIn(data), /"isSynced":false,"hearsOfLosses":true/, '"isSynced":true');
    await lose(path.join(data, 'srv', 'a'));
    expect(await keeps(data, 'a', () => complete(data))).toBe(false);
  });

  it('is gone on with after a kill while it is being prepared', async () => {
    for (const name of ['a', 'b']) await write(name, 'one', NEW);
    const data = await begin('data');
    await breakOff(data);
    await must('mv', data, `${data}+earlier`);
    await must('cp', '-al', `${data}+earlier`, `${data}+new`);
    await mkdir(data);
    const held = await open(path.join(`${data}+earlier`, 'srv', 'a'));
    try {
      await complete(data);
      expect((await stat(path.join(data, 'srv', 'a'))).ino).toBe((await held.stat()).ino);
    } finally {
      await held.close();
    }
  });

  it('never touches the parent when owners and modes have changed meanwhile', async () => {
    for (const name of ['a', 'b']) await write(name, name, OLD);
    const first = await begin('first');
    const parent = { data: first, list: await complete(first) };
    const second = await begin('second');
    await breakOff(second, parent);
    await chmod(path.join(original, 'a'), 0o600);
    await must('chown', '7:8', path.join(original, 'b'));
    await complete(second, parent);
    expect((await stat(path.join(first, 'srv', 'a'))).mode & 0o7777).toBe(0o644);
    expect((await stat(path.join(first, 'srv', 'b'))).uid).toBe(0);
  });

  it('leaves out what is gone, or left out, meanwhile', async () => {
    for (const name of ['a', 'gone', 'left out']) await write(name, name, OLD);
    await mkdir(path.join(original, 'directory'));
    await write('directory/inner', 'x', OLD);
    const data = await begin('data');
    await breakOff(data);
    await rm(path.join(original, 'gone'));
    await must('rm', '-r', path.join(original, 'directory'));
    await write('directory', 'is a file now', OLD);
    const asked = request(data);
    await engine.copy({ ...asked, sources: [{ path: '/srv', readFrom: original, exclude: ['/left*'] }] });
    expect((await readdir(path.join(data, 'srv'))).toSorted()).toEqual(['a', 'directory']);
  });
});
