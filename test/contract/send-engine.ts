import { createHash } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { isRetryable } from '../../src/copy/copy-error.js';
import type {
  CopyBase,
  CopyEngine,
  CopyRequest,
  CopyResult,
  CopySource,
  EngineName,
  RestoreRequest,
  VerifyFindings,
  VerifyRequest,
} from '../../src/copy/engine.js';
import { compareTrees, countEntries } from '../support/compare-trees.js';
import { itWhere } from '../support/applies.js';
import { makeNastyTree } from '../support/nasty-tree.js';
import { must } from '../support/throwaway-filesystem.js';

/** A snapshot that a test took, and where it can be read. */
export interface ExposedSnapshot {
  source: CopySource;
  readFrom: string;
  /** Hidden again, and kept. */
  hide: () => Promise<void>;
  /** Gone for good. */
  remove: () => Promise<void>;
}

/** Storage whose snapshots an engine sends, and a place to send them to. */
export interface SendWorld {
  engine: CopyEngine;
  /** The live filesystem. */
  mountpoint: string;
  /** Takes a snapshot of the live filesystem and exposes it. */
  snapshot: () => Promise<ExposedSnapshot>;
  /** Where `<job>/<id>/data` is made. */
  target: string;
  /** A directory on a filesystem of 24 MiB or so, of the kind that the target is on. */
  smallTarget: () => Promise<string>;
  /** Where restores go: takes all attributes. */
  scratch: string;
  /** Flips a byte of what a backup stores, below what keeps it whole. */
  flipByte: (dataDirectory: string) => Promise<void>;
  dispose: () => Promise<void>;
}

/** What differs between engines. */
export interface SendTraits {
  name: EngineName;
  title: string;
  /** An increment can be restored by itself. */
  isWhole: boolean;
  /** False: each backup is a full one. */
  makesIncrements: boolean;
  /** False: the filesystem has no room for what xattrs, holes and so on ask of it. */
  smallFiles: number;
}

/** Against hanging for ever. */
const LONG_MS = 900_000;
const JOB = 'contract';

/** Where a snapshot lies that was taken before: an empty directory in the next one, which is not sent. */
function isOurs(name: string): boolean {
  return name.startsWith('.fsbackup-snapshots');
}

function describeWorld(make: () => Promise<SendWorld>, traits: SendTraits): void {
  let world: SendWorld;
  let engine: CopyEngine;
  let count = 0;

  beforeAll(async () => {
    world = await make();
    engine = world.engine;
  }, LONG_MS);

  afterAll(async () => {
    await world.dispose();
  }, LONG_MS);

  // Each test begins with an empty filesystem.
  beforeEach(async () => {
    for (const name of await readdir(world.mountpoint)) {
      if (name.startsWith('.fsbackup') || name === 'lost+found') continue;
      await must('chattr', '-R', '-f', '-i', path.join(world.mountpoint, name)).catch(() => undefined);
      await rm(path.join(world.mountpoint, name), { recursive: true });
    }
  });

  async function backup(at = world.target): Promise<CopyRequest['backup'] & { dataDirectory: string }> {
    count += 1;
    const backupId = `20261123T184500Z-${createHash('sha256').update(String(count)).digest('hex').slice(0, 6)}`;
    const dataDirectory = path.join(at, JOB, backupId, 'data');
    await mkdir(dataDirectory, { recursive: true, mode: 0o700 });
    return { job: JOB, backupId, dataDirectory };
  }

  interface Made {
    backupId: string;
    dataDirectory: string;
    digests: NonNullable<VerifyRequest['digests']>;
    result: CopyResult;
    base: CopyBase;
    sources: readonly CopySource[];
  }

  async function copy(
    sources: readonly CopySource[],
    more: Partial<CopyRequest> & { at?: string } = {},
  ): Promise<Made> {
    const { at, ...rest } = more;
    const { dataDirectory, ...name } = await backup(at);
    const file = path.join(path.dirname(dataDirectory), 'digests.gz');
    const result = await engine.copy({
      backup: name,
      sources,
      dataDirectory,
      parentDataDirectory: undefined,
      digests: { file, parent: undefined },
      signal: new AbortController().signal,
      onProgress: () => undefined,
      ...rest,
    });
    const { backupId } = name;
    return {
      backupId,
      dataDirectory,
      digests: { file, algorithm: result.digests?.algorithm ?? '' },
      result,
      base: { backupId, dataDirectory, snapshots: result.keep ?? [] },
      sources,
    };
  }

  async function out(): Promise<string> {
    count += 1;
    const directory = path.join(world.scratch, `out-${count}`);
    await mkdir(directory, { mode: 0o700 });
    return directory;
  }

  async function restore(
    { dataDirectory, sources }: Pick<Made, 'dataDirectory' | 'sources'>,
    destination: string,
    paths: readonly string[] = [],
  ): Promise<CopyResult> {
    const request: RestoreRequest = {
      sources: sources.map((one) => one.path),
      dataDirectory,
      destination,
      paths,
      signal: new AbortController().signal,
      onProgress: () => undefined,
    };
    return await engine.restore(request);
  }

  async function verify(
    { dataDirectory, digests }: Pick<Made, 'dataDirectory' | 'digests'>,
    mode: VerifyRequest['mode'] = 'full',
  ): Promise<VerifyFindings> {
    const signal = new AbortController().signal;
    const request = { dataDirectory, digests, mode, notInBackup: [], scratch: await out() };
    return await engine.verify({ ...request, signal, onProgress: () => undefined });
  }

  /** Restores a backup and compares it with a snapshot. */
  async function expectSame(made: Made, readFrom: string): Promise<void> {
    const destination = await out();
    expect((await restore(made, destination)).unreadable).toEqual([]);
    const restored = path.join(destination, made.sources[0]?.path ?? '');
    expect(await countEntries(restored)).toBeGreaterThan(0);
    expect(await compareTrees(readFrom, restored, { ignore: isOurs })).toEqual([]);
    expect((await readdir(destination)).filter((name) => name.startsWith('.'))).toEqual([]);
  }

  const NOTHING = { count: 0, paths: [] };
  const WHOLE = { changed: NOTHING, missing: NOTHING, extra: NOTHING, problems: [], withoutDigest: 0 };
  const random = (name: string, mebibytes: number): Promise<string> =>
    must(
      'dd',
      'if=/dev/urandom',
      `of=${path.join(world.mountpoint, name)}`,
      'bs=1M',
      `count=${mebibytes}`,
      'status=none',
    );

  it('says which tool it is, and the versions of what it uses', async () => {
    expect(engine.name).toBe(traits.name);
    const versions = Object.values(await engine.preflight());
    expect(versions.length).toBeGreaterThan(0);
    for (const version of versions) expect(version).toMatch(/^\d+\.\d+/);
  });

  it(
    'brings back everything of a nasty tree, whole by its digests',
    async () => {
      await makeNastyTree(world.mountpoint, { smallFiles: traits.smallFiles, sparseBytes: 64 * 1024 ** 2 });
      const snapshot = await world.snapshot();
      const progress: number[] = [];
      const made = await copy([snapshot.source], { onProgress: ({ bytes }) => progress.push(bytes) });
      expect(made.result).toMatchObject({ unreadable: [], warnings: [], files: 1 });
      expect(made.result.needs).toBeUndefined();
      expect(made.result.bytes).toBeGreaterThan(1000);
      expect(progress.at(-1)).toBe(made.result.bytes);
      await expectSame(made, snapshot.readFrom);
      for (const mode of ['quick', 'full'] as const)
        expect(await verify(made, mode)).toMatchObject({ ...WHOLE, files: 1 });
      await snapshot.remove();
    },
    LONG_MS,
  );

  itWhere(
    traits.makesIncrements,
    'makes increments of increments, each of which is restored as it was',
    async () => {
      await random('large', 24);
      await mkdir(path.join(world.mountpoint, 'directory/deep'), { recursive: true });
      await writeFile(path.join(world.mountpoint, 'directory/deep/old'), 'old');
      const first = await world.snapshot();
      const one = await copy([first.source]);
      await first.hide();

      await writeFile(path.join(world.mountpoint, 'new'), 'new');
      await rename(path.join(world.mountpoint, 'directory'), path.join(world.mountpoint, 'moved'));
      await rm(path.join(world.mountpoint, 'moved/deep/old'));
      const second = await world.snapshot();
      const two = await copy([second.source], { base: one.base });
      expect(two.result.warnings).toEqual([]);
      await expectSame(two, second.readFrom);
      // The base that was there before is not needed any more.
      await first.remove();
      await second.hide();

      await symlink('new', path.join(world.mountpoint, 'link'));
      await random('another', 1);
      const third = await world.snapshot();
      const three = await copy([third.source], { base: two.base });
      expect(three.result.warnings).toEqual([]);
      await expectSame(three, third.readFrom);
      expect(two.result.bytes).toBeLessThan(one.result.bytes / 4);
      expect(three.result.bytes).toBeLessThan(one.result.bytes / 4);
      const needs = [two.result.needs, three.result.needs];
      expect(needs).toEqual(traits.isWhole ? [undefined, undefined] : [[one.backupId], [two.backupId]]);
      if (traits.isWhole) {
        for (const { backupId, dataDirectory } of [one, two]) {
          await engine.remove?.({ dataDirectory, backup: { job: JOB, backupId } });
          await rm(path.dirname(dataDirectory), { recursive: true });
        }
      }
      await expectSame(three, third.readFrom);
      for (const made of traits.isWhole ? [three] : [one, two, three])
        expect(await verify(made)).toMatchObject(WHOLE);
      await second.remove();
      await third.remove();
    },
    LONG_MS,
  );

  itWhere(
    traits.makesIncrements,
    'makes a full backup and says so when its base is gone, is another, or its backup is',
    async () => {
      await writeFile(path.join(world.mountpoint, 'x'), 'x');
      const first = await world.snapshot();
      const one = await copy([first.source]);
      await first.hide();
      await writeFile(path.join(world.mountpoint, 'y'), 'y');
      const second = await world.snapshot();
      const forged = one.base.snapshots.map((kept) => ({ ...kept, identity: 'somebody else' }));
      const other = await copy([second.source], { base: { ...one.base, snapshots: forged } });
      const lost = { ...one.base, dataDirectory: path.join(world.target, JOB, 'gone', 'data') };
      const orphan = await copy([second.source], { base: lost });
      await first.remove();
      const baseless = await copy([second.source], { base: one.base });
      for (const made of [other, orphan, baseless]) {
        expect(made.result.warnings).toHaveLength(1);
        expect(made.result.warnings?.[0]).toMatch(/full/);
        expect(made.result.needs).toBeUndefined();
        await expectSame(made, second.readFrom);
      }
      await second.remove();
    },
    LONG_MS,
  );

  it(
    'finds one flipped byte',
    async () => {
      await random('large', 8);
      const snapshot = await world.snapshot();
      const made = await copy([snapshot.source]);
      await world.flipByte(made.dataDirectory);
      const found = await verify(made);
      expect(found.changed.count + found.missing.count + found.problems.length).toBeGreaterThan(0);
      await snapshot.remove();
    },
    LONG_MS,
  );

  it(
    'completes what an attempt that was stopped began',
    async () => {
      await random('large', 32);
      const snapshot = await world.snapshot();
      const { dataDirectory, ...name } = await backup();
      const request = {
        backup: name,
        sources: [snapshot.source],
        dataDirectory,
        parentDataDirectory: undefined,
      };
      const stop = new AbortController();
      const attempt = engine.copy({ ...request, signal: stop.signal, onProgress: () => stop.abort() });
      await expect(attempt).rejects.toMatchObject({ code: 'copyFailed', exitCode: 40 });
      const { signal } = new AbortController();
      const result = await engine.copy({ ...request, signal, onProgress: () => undefined });
      expect(result.unreadable).toEqual([]);
      const made = { backupId: name.backupId, dataDirectory, sources: request.sources, result };
      const base = { ...name, dataDirectory, snapshots: [] };
      await expectSame({ ...made, base, digests: { file: '', algorithm: '' } }, snapshot.readFrom);
      await snapshot.remove();
    },
    LONG_MS,
  );

  it(
    'fails for good when the target is full, and takes away what it wrote',
    async () => {
      await random('large', 64);
      const snapshot = await world.snapshot();
      const at = await world.smallTarget();
      const error: unknown = await copy([snapshot.source], { at }).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'copyFailed', exitCode: 40 });
      expect((error as Error).message).toMatch(/No space left|out of space|quota exceeded/i);
      expect(isRetryable(error)).toBe(false);
      const [backupId = ''] = await readdir(path.join(at, JOB));
      const dataDirectory = path.join(at, JOB, backupId, 'data');
      for (let round = 0; round < 2; round += 1)
        await engine.remove?.({ dataDirectory, backup: { job: JOB, backupId } });
      await rm(dataDirectory, { recursive: true });
      await snapshot.remove();
    },
    LONG_MS,
  );

  it(
    'restores single paths, overwrites and never deletes, and names what is not there',
    async () => {
      await mkdir(path.join(world.mountpoint, 'a/deep'), { recursive: true });
      await writeFile(path.join(world.mountpoint, 'a/deep/file'), 'content');
      await writeFile(path.join(world.mountpoint, 'a/beside'), 'beside');
      await utimes(path.join(world.mountpoint, 'a'), 0, 1_000_000_003);
      const snapshot = await world.snapshot();
      const made = await copy([snapshot.source]);
      const live = snapshot.source.path;
      const destination = await out();
      const there = path.join(destination, live, 'a/deep');
      await mkdir(there, { recursive: true });
      await writeFile(path.join(there, 'file'), 'older and longer than that');
      await writeFile(path.join(there, 'precious'), 'precious');
      const result = await restore(made, destination, [`${live}/a/deep`, `${live}/missing`]);
      expect(result.unreadable).toEqual([`${live}/missing`]);
      expect((await readdir(there)).toSorted()).toEqual(['file', 'precious']);
      expect(await must('cat', path.join(there, 'file'))).toBe('content');
      expect(await readdir(path.join(destination, live, 'a'))).toEqual(['deep']);
      expect((await stat(path.join(destination, live, 'a'))).mtimeMs).toBe(1_000_000_003_000);
      await snapshot.remove();
    },
    LONG_MS,
  );

  it('refuses a source that has no snapshot', async () => {
    const attempt = copy([{ path: '/srv', readFrom: world.mountpoint, exclude: [] }]);
    await expect(attempt).rejects.toMatchObject({ code: 'usage' });
  });
}

/** The contract of engines that send whole snapshots. */
export function sendEngineContract(make: () => Promise<SendWorld>, traits: SendTraits): void {
  describe(`the ${traits.name} engine, ${traits.title}`, () => {
    describeWorld(make, traits);
  });
}

/** Flips one byte in the middle of the largest file of a directory, its times kept. */
export async function flipByteOfLargest(directory: string): Promise<void> {
  const listed = await must('find', directory, '-type', 'f', '-printf', String.raw`%s %p\n`);
  const sizes = listed.split('\n').map((line) => {
    const [size = '', ...name] = line.split(' ');
    return { size: Number(size), file: name.join(' ') };
  });
  const largest = sizes.toSorted((a, b) => b.size - a.size)[0];
  if (largest === undefined) throw new Error(`no file in ${directory}`);
  const { atime, mtime } = await stat(largest.file);
  const at = Math.floor(largest.size / 2);
  const handle = await open(largest.file, 'r+');
  try {
    const { buffer } = await handle.read({ buffer: Buffer.alloc(1), position: at });
    await handle.write(Buffer.from([(buffer[0] ?? 0) ^ 1]), 0, 1, at);
  } finally {
    await handle.close();
  }
  await utimes(largest.file, atime, mtime);
}
