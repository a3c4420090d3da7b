import { mkdir, readdir, rename, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { isRetryable } from '../../src/copy/copy-error.js';
import type { CopyEngine, EngineName, RestoreRequest } from '../../src/copy/engine.js';
import { itWhere } from '../support/applies.js';
import { copyRequest, flipBit, LONG_MS, WHOLE } from '../support/engine-requests.js';
import { makeNastyTree } from '../support/nasty-tree.js';
import { JOB, SendHarness, type SendWorld } from '../support/send-harness.js';
import { must } from '../support/throwaway-filesystem.js';

/** How much a nasty tree has, and files of random data. */
export interface SendSizes {
  smallFiles: number;
  sparseMiB: number;
  /** So large that much of it is not copied again. */
  largeMiB: number;
  /** More than a small target takes. */
  tooLargeMiB: number;
}

const SIZES: SendSizes = { smallFiles: 300, sparseMiB: 64, largeMiB: 32, tooLargeMiB: 64 };

/** What differs between engines. */
export interface SendTraits {
  name: EngineName;
  title: string;
  /** An increment can be restored by itself. */
  isWhole: boolean;
  /** False: each backup is a full one. */
  makesIncrements: boolean;
  /** Another way to the same engine, all of which was asked of the first: only what can differ is asked of this one. */
  isVariant?: true;
  /** How much data there is: less under software emulation, where sizes are not the point. */
  sizes?: SendSizes;
}

function describeWorld(make: () => Promise<SendWorld>, traits: SendTraits): void {
  let world: SendWorld;
  let engine: CopyEngine;
  let harness: SendHarness;
  const sizes = traits.sizes ?? SIZES;
  const isFirst = traits.isVariant === undefined;

  beforeAll(async () => {
    world = await make();
    engine = world.engine;
    harness = new SendHarness(world);
  }, LONG_MS);

  afterAll(async () => {
    await world.dispose();
  }, LONG_MS);

  // Each test begins with an empty filesystem.
  beforeEach(() => harness.clear());

  itWhere(isFirst, 'says which tool it is, and the versions of what it uses', async () => {
    expect(engine.name).toBe(traits.name);
    const versions = Object.values(await engine.preflight());
    expect(versions.length).toBeGreaterThan(0);
    for (const version of versions) expect(version).toMatch(/^\d+\.\d+/);
  });

  itWhere(
    isFirst,
    'brings back everything of a nasty tree, whole by its digests',
    async () => {
      await makeNastyTree(world.mountpoint, {
        smallFiles: sizes.smallFiles,
        sparseBytes: sizes.sparseMiB * 1024 ** 2,
      });
      const snapshot = await world.snapshot();
      const progress: number[] = [];
      const made = await harness.copy([snapshot.source], { onProgress: ({ bytes }) => progress.push(bytes) });
      expect(made.result).toMatchObject({ unreadable: [], warnings: [], files: 1 });
      expect(made.result.needs).toBeUndefined();
      expect(made.result.bytes).toBeGreaterThan(1000);
      expect(progress.at(-1)).toBe(made.result.bytes);
      expect(await harness.differences(made, snapshot)).toEqual([]);
      for (const mode of ['quick', 'full'] as const)
        expect(await harness.verify(made, mode)).toMatchObject({ ...WHOLE, files: 1 });
      await snapshot.remove();
    },
    LONG_MS,
  );

  itWhere(
    traits.makesIncrements,
    'makes increments of increments, each of which is restored as it was',
    async () => {
      await harness.random('large', sizes.largeMiB);
      await mkdir(path.join(world.mountpoint, 'directory/deep'), { recursive: true });
      await writeFile(path.join(world.mountpoint, 'directory/deep/old'), 'old');
      await must('setfacl', '-m', 'u:54321:rw,g:12:rx', path.join(world.mountpoint, 'directory'));
      await must('setfattr', '-n', 'user.x', '-v', 'y', path.join(world.mountpoint, 'directory/deep'));
      const first = await world.snapshot();
      const one = await harness.copy([first.source]);
      await first.hide();

      await writeFile(path.join(world.mountpoint, 'new'), 'new');
      await rename(path.join(world.mountpoint, 'directory'), path.join(world.mountpoint, 'moved'));
      await rm(path.join(world.mountpoint, 'moved/deep/old'));
      const second = await world.snapshot();
      const two = await harness.copy([second.source], { base: one.base });
      expect(two.result.warnings).toEqual([]);
      expect(await harness.differences(two, second)).toEqual([]);
      // The base that was there before is not needed any more.
      await first.remove();
      await second.hide();

      await symlink('new', path.join(world.mountpoint, 'link'));
      await harness.random('another', 1);
      const third = await world.snapshot();
      const three = await harness.copy([third.source], { base: two.base });
      expect(three.result.warnings).toEqual([]);
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
      expect(await harness.differences(three, third)).toEqual([]);
      for (const made of traits.isWhole ? [three] : [one, two, three])
        expect(await harness.verify(made)).toMatchObject(WHOLE);
      await second.remove();
      await third.remove();
    },
    LONG_MS,
  );

  itWhere(
    isFirst && traits.makesIncrements,
    'makes a full backup and says so when its base is gone, is another, or its backup is',
    async () => {
      await writeFile(path.join(world.mountpoint, 'x'), 'x');
      const first = await world.snapshot();
      const one = await harness.copy([first.source]);
      await first.hide();
      await writeFile(path.join(world.mountpoint, 'y'), 'y');
      const second = await world.snapshot();
      const forged = one.base.snapshots.map((kept) => ({ ...kept, identity: 'somebody else' }));
      const other = await harness.copy([second.source], { base: { ...one.base, snapshots: forged } });
      const lost = { ...one.base, dataDirectory: path.join(world.target, JOB, 'gone', 'data') };
      const orphan = await harness.copy([second.source], { base: lost });
      await first.remove();
      const baseless = await harness.copy([second.source], { base: one.base });
      for (const made of [other, orphan, baseless]) {
        expect(made.result.warnings).toHaveLength(1);
        expect(made.result.warnings?.[0]).toMatch(/full/);
        expect(made.result.needs).toBeUndefined();
      }
      expect(await harness.differences(baseless, second)).toEqual([]);
      await second.remove();
    },
    LONG_MS,
  );

  it(
    'finds one flipped byte',
    async () => {
      await harness.random('large', 8);
      const snapshot = await world.snapshot();
      const made = await harness.copy([snapshot.source]);
      await world.flipByte(made.dataDirectory);
      const found = await harness.verify(made);
      expect(found.changed.count + found.missing.count + found.problems.length).toBeGreaterThan(0);
      await snapshot.remove();
    },
    LONG_MS,
  );

  itWhere(
    isFirst,
    'completes what an attempt that was stopped began',
    async () => {
      await harness.random('large', sizes.largeMiB);
      const snapshot = await world.snapshot();
      const { dataDirectory, ...name } = await harness.backup();
      const request = copyRequest([snapshot.source], dataDirectory, { backup: name });
      const stop = new AbortController();
      const attempt = engine.copy({ ...request, signal: stop.signal, onProgress: () => stop.abort() });
      await expect(attempt).rejects.toMatchObject({ code: 'copyFailed', exitCode: 40 });
      const result = await engine.copy(request);
      expect(result.unreadable).toEqual([]);
      expect(await harness.differences(request, snapshot)).toEqual([]);
      await snapshot.remove();
    },
    LONG_MS,
  );

  it(
    'fails for good when the target is full, and takes away what it wrote',
    async () => {
      await harness.random('large', sizes.tooLargeMiB);
      const snapshot = await world.snapshot();
      const at = await world.smallTarget();
      const error: unknown = await harness.copy([snapshot.source], { at }).catch((thrown: unknown) => thrown);
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

  itWhere(
    isFirst,
    'restores single paths, overwrites and never deletes, and names what is not there',
    async () => {
      await mkdir(path.join(world.mountpoint, 'a/deep'), { recursive: true });
      await writeFile(path.join(world.mountpoint, 'a/deep/file'), 'content');
      await writeFile(path.join(world.mountpoint, 'a/beside'), 'beside');
      await utimes(path.join(world.mountpoint, 'a'), 0, 1_000_000_003);
      const snapshot = await world.snapshot();
      const made = await harness.copy([snapshot.source]);
      const live = snapshot.source.path;
      const destination = await harness.out();
      const there = path.join(destination, live, 'a/deep');
      await mkdir(there, { recursive: true });
      await writeFile(path.join(there, 'file'), 'older and longer than that');
      await writeFile(path.join(there, 'precious'), 'precious');
      const result = await harness.restore(made, destination, [`${live}/a/deep`, `${live}/missing`]);
      expect(result.unreadable).toEqual([`${live}/missing`]);
      expect((await readdir(there)).toSorted()).toEqual(['file', 'precious']);
      expect(await must('cat', path.join(there, 'file'))).toBe('content');
      expect(await readdir(path.join(destination, live, 'a'))).toEqual(['deep']);
      expect((await stat(path.join(destination, live, 'a'))).mtimeMs).toBe(1_000_000_003_000);
      await snapshot.remove();
    },
    LONG_MS,
  );

  it(
    'tells all that it holds when it is opened to restore, and brings what was chosen of it',
    async () => {
      await mkdir(path.join(world.mountpoint, 'a/deep'), { recursive: true });
      const odd = Buffer.concat([
        Buffer.from(`${world.mountpoint}/a/`),
        Buffer.from([0xff, 0x0a, 0x20, 0x22]),
      ]);
      await writeFile(odd, 'odd');
      await writeFile(path.join(world.mountpoint, 'a/deep/page.conf'), 'page');
      await writeFile(path.join(world.mountpoint, 'a/beside'), 'beside');
      const snapshot = await world.snapshot();
      const made = await harness.copy([snapshot.source]);
      const live = snapshot.source.path;
      expect(engine.choosesWhenOpen).toBe(true);
      const held = new Map<string, boolean>();
      const destination = await harness.out();
      const choose: RestoreRequest['choose'] = async (entries) => {
        for await (const { path: at, isDirectory } of entries()) held.set(at, isDirectory);
        return [`${live}/a/deep/page.conf`, `${live}/a/\u{dcff}\n "`];
      };
      expect((await harness.restore(made, destination, [], choose)).unreadable).toEqual([]);
      expect(held.get(live)).toBe(true);
      expect(held.get(path.dirname(live))).toBe(true);
      expect(held.get(`${live}/a/deep`)).toBe(true);
      expect(held.get(`${live}/a/deep/page.conf`)).toBe(false);
      const inA = [...held.keys()].filter((name) => name.startsWith(`${live}/a/`));
      expect(inA.toSorted()).toEqual(
        ['beside', 'deep', 'deep/page.conf', '\u{dcff}\n "'].map((name) => `${live}/a/${name}`).toSorted(),
      );
      const names = await readdir(path.join(destination, live, 'a'), { encoding: 'latin1' });
      expect(names.toSorted()).toEqual(['deep', '\u00ff\n "']);
      expect(await must('cat', path.join(destination, live, 'a/deep/page.conf'))).toBe('page');

      const empty = await harness.out();
      const nothing = harness.restore(made, empty, [], () => Promise.reject(new Error('nothing matches')));
      await expect(nothing).rejects.toThrow('nothing matches');
      expect(await readdir(empty)).toEqual([]);
      await snapshot.remove();
    },
    LONG_MS,
  );

  it(
    'compares all that was restored with the backup',
    async () => {
      await harness.random('large', 4);
      await mkdir(path.join(world.mountpoint, 'in'));
      for (const name of ['flipped', 'gone', 'given away', 'good'])
        await writeFile(path.join(world.mountpoint, 'in', name), `content of ${name}`);
      const snapshot = await world.snapshot();
      const made = await harness.copy([snapshot.source]);
      const live = snapshot.source.path;
      const destination = await harness.out();
      const { files, bytes } = await harness.restore(made, destination);
      const { signal } = new AbortController();
      const { dataDirectory } = made;
      expect(await engine.roomToRestore?.({ dataDirectory, signal })).toBeGreaterThan(bytes);
      expect(await harness.checkRestored(made, destination)).toMatchObject({ ...WHOLE, files });
      expect(files).toBeGreaterThanOrEqual(5);
      const at = (name: string): string => path.join(destination, live, 'in', name);
      await flipBit(at('flipped'), 3);
      await rm(at('gone'));
      await must('chown', '4:4', at('given away'));
      const found = await harness.checkRestored(made, destination);
      // The directory's own time is that of the removal.
      expect(found?.changed.paths.toSorted()).toEqual(
        ['', '/flipped', '/given away'].map((name) => `${live}/in${name}`),
      );
      expect(found?.missing.paths).toEqual([`${live}/in/gone`]);
      await snapshot.remove();
    },
    LONG_MS,
  );

  itWhere(isFirst, 'refuses a source that has no snapshot', async () => {
    const attempt = harness.copy([{ path: '/srv', readFrom: world.mountpoint, exclude: [] }]);
    await expect(attempt).rejects.toMatchObject({ code: 'usage' });
  });
}

/** The contract of engines that send whole snapshots. */
export function sendEngineContract(make: () => Promise<SendWorld>, traits: SendTraits): void {
  describe(`the ${traits.name} engine, ${traits.title}`, () => {
    describeWorld(make, traits);
  });
}
