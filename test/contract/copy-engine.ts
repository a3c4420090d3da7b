import { chmod, lstat, mkdir, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { isRetryable } from '../../src/copy/copy-error.js';
import type {
  CopyEngine,
  CopySource,
  EngineName,
  VerifyFindings,
  VerifyRequest,
} from '../../src/copy/engine.js';
import type { EngineStorage } from '../../src/engine-names.js';
import { FsbackupError } from '../../src/errors.js';
import { makeRunId } from '../../src/run/run-id.js';
import { compareTrees, countEntries } from '../support/compare-trees.js';
import { itWhere } from '../support/applies.js';
import { describeNeeding } from '../support/capabilities.js';
import {
  backupOf,
  copyRequest,
  flipBit,
  LONG_MS,
  NOTHING,
  restoreRequest,
  verifyWith,
  WHOLE,
  writeRandom,
} from '../support/engine-requests.js';
import { restoresOfPaths } from './copy-engine-paths.js';
import { makeNastyTree } from '../support/nasty-tree.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

/** Of the tree that every engine has to bring back: the filesystem makes no difference to its size. */
const TREE_SIZES = {
  ext4: { smallFiles: 10_000, sparseBytes: 2 * 1024 ** 3 },
  xfs: { smallFiles: 1100, sparseBytes: 128 * 1024 ** 2 },
} as const;

/** What the suite cannot know of an engine. */
export interface EngineTraits {
  name: EngineName;
  /** Tells it from others of its name. */
  variant?: string;
  keepsIn: EngineStorage;
  keepsSockets: boolean;
  /** False: not all that was a hole comes back as one. */
  keepsHoles: boolean;
  /** False: times before 1970 and after 2038 are moved into that range. */
  keepsAllTimes: boolean;
  /** False: symlinks that are names of one and the same become several. */
  keepsLinkedSymlinks: boolean;
  /** False: it verifies by checksums of its own, and cannot say which files are damaged. */
  takesDigests: boolean;
  /** False: it copies all that is there. */
  takesPatterns?: false;
  /** False: nobody knows the versions of what it runs. */
  tellsVersions?: false;
  /** False: it is told of a repository, and cannot make one or tell it from others. */
  makesRepositories?: false;
  /** Makes in the storage what the engine takes many seconds to make. */
  prepareStorage?: (storage: string) => void;
  needs: readonly `program:${string}`[];
}

function source(livePath: string, readFrom: string, exclude: readonly string[] = []): CopySource {
  return { path: livePath, readFrom, exclude };
}

function isInner(name: string): boolean {
  return name === 'a/b/inner';
}

/** New directories on two filesystems. */
class Places {
  #count = 0;

  constructor(
    readonly origin: ThrowawayFilesystem,
    readonly target: ThrowawayFilesystem,
  ) {}

  /** A new directory on the origin. */
  async tree(): Promise<string> {
    this.#count += 1;
    const directory = path.join(this.origin.mountpoint, `tree-${this.#count}`);
    await mkdir(directory);
    return directory;
  }

  /** A new empty directory on the target. */
  async place(): Promise<string> {
    this.#count += 1;
    const directory = path.join(this.target.mountpoint, `place-${this.#count}`);
    await mkdir(directory, { mode: 0o700 });
    return directory;
  }
}

/** The contract of `CopyEngine`, over real filesystems of one type. */
export function copyEngineContract(
  create: (storage: string) => CopyEngine,
  traits: EngineTraits,
  fstype: 'ext4' | 'xfs',
): void {
  const engineHasRepository = traits.keepsIn === 'repository';
  const title = [`the ${traits.name} engine`, traits.variant, `on ${fstype}`].join(' ').replace('  ', ' ');
  const needs = ['root', 'loop', fstype, 'program:setfattr', 'program:setfacl', 'program:setcap'] as const;
  describeNeeding([...needs, ...traits.needs], title, () => {
    const disks = throwawayDisks(afterAll);
    let engine: CopyEngine;
    let storage: string;
    let origin: ThrowawayFilesystem;
    let places: Places;

    beforeAll(async () => {
      origin = await disks.filesystem({ fstype, sizeMiB: 768, name: `origin-${fstype}` });
      const target = await disks.filesystem({ fstype, sizeMiB: 2560, name: `target-${fstype}` });
      places = new Places(origin, target);
      storage = await place();
      engine = await engineAt(storage);
    });

    /** The engine, with its repository (if it has such) in `directory`. */
    async function engineAt(directory: string): Promise<CopyEngine> {
      const made = create(directory);
      traits.prepareStorage?.(directory);
      await made.openRepository?.({ initialise: true });
      return made;
    }

    const tree = (): Promise<string> => places.tree();
    const place = (): Promise<string> => places.place();

    /** Copies and restores. Returns the restored tree's directory. */
    async function roundTrip(sources: readonly CopySource[], paths: readonly string[] = []): Promise<string> {
      const [data, out] = [await place(), await place()];
      expect((await engine.copy(copyRequest(sources, data))).unreadable).toEqual([]);
      expect((await engine.restore(restoreRequest(sources, data, out, paths))).unreadable).toEqual([]);
      return out;
    }

    itWhere(traits.tellsVersions ?? true, 'tells its tools and their versions', async () => {
      const versions = Object.values(await engine.preflight());
      expect(versions.length).toBeGreaterThan(0);
      for (const version of versions) expect(version).toMatch(/^\d+\.\d+/);
    });

    it(
      'brings back everything of a nasty tree',
      async () => {
        const original = await tree();
        const sizes = TREE_SIZES[fstype];
        await makeNastyTree(original, sizes);
        await must('chattr', '+i', path.join(original, 'modes', 'setuid'), path.join(original, 'names'));
        const sources = [source('/srv/www', original)];
        const [data, out] = [await place(), await place()];

        const reports: { files: number; bytes: number }[] = [];
        const result = await engine.copy(
          copyRequest(sources, data, { onProgress: (progress) => reports.push(progress) }),
        );
        expect(result.unreadable).toEqual([]);
        expect(result.files).toBeGreaterThan(sizes.smallFiles);
        expect(result.files).toBeLessThan(countEntries(original));
        expect(result.bytes).toBeGreaterThan(sizes.sparseBytes);
        expect(reports.length).toBeGreaterThan(0);

        const restored = await engine.restore({ ...restoreRequest(sources, data, out), isEmpty: true });
        expect(restored.unreadable).toEqual([]);
        expect(restored.files).toBe(result.files);
        const copy = path.join(out, 'srv', 'www');
        expect(countEntries(original)).toBeGreaterThan(sizes.smallFiles + 100);
        expect(
          await compareTrees(original, copy, {
            ignoreSockets: !traits.keepsSockets,
            ignoreHoles: !traits.keepsHoles,
            ignoreLinkedSymlinks: !traits.keepsLinkedSymlinks,
            ignore: (name) => !traits.keepsAllTimes && /^times\/(?:before|after)-/.test(name),
          }),
        ).toEqual([]);
      },
      LONG_MS,
    );

    it('says which tool it is', () => {
      expect(engine.name).toBe(traits.name);
    });

    /** Verifies against the digests of a copy. Returns the findings without what is as it should be. */
    async function verify(
      data: string,
      digests: VerifyRequest['digests'],
      mode: VerifyRequest['mode'] = 'full',
      by = engine,
    ): Promise<VerifyFindings> {
      return await verifyWith(by, { dataDirectory: data, digests, mode, scratch: await place() });
    }

    itWhere(
      traits.takesDigests,
      'takes digests while it copies, with which every byte of the copy agrees',
      async () => {
        const original = await tree();
        await makeNastyTree(original);
        await must('ln', '-s', 'a => b // c', path.join(original, 'odd link'));
        await writeFile(path.join(original, 'odd => name -> of a file'), 'x');
        await must(
          'ln',
          path.join(original, 'odd => name -> of a file'),
          path.join(original, 'a second => name'),
        );
        const sources = [source('/srv/w w', original), source('/var/other', await tree())];
        const data = [await place(), await place()];
        const [first = '', second = ''] = data;
        const lists = await place();
        const file = (index: number): string => path.join(lists, `${index}.gz`);
        const one = await engine.copy(
          copyRequest(sources, first, { digests: { file: file(1), parent: undefined } }),
        );
        expect(one.digests).toMatchObject({ unknown: 0 });
        const list = { file: file(1), algorithm: one.digests?.algorithm ?? '' };
        const found = await verify(first, list);
        expect(found).toMatchObject({ ...WHOLE, files: one.files });
        expect(found.bytes).toBeGreaterThan(128 * 1024 ** 2);
        expect(await verify(first, list, 'quick')).toMatchObject(WHOLE);
        expect(await verify(first, undefined)).toMatchObject({ changed: NOTHING, problems: [] });
        expect((await verify(first, undefined)).withoutDigest).toBeGreaterThan(1000);

        // What did not change keeps its digest, what did gets its own; a name too many, and one that is gone.
        await writeFile(path.join(original, 'new'), 'new');
        await chmod(path.join(original, 'odd => name -> of a file'), 0o600);
        await rm(path.join(original, 'odd link'));
        const two = await engine.copy(
          copyRequest(sources, second, {
            parentDataDirectory: first,
            parentBackupId: makeRunId(new Date()),
            digests: { file: file(2), parent: list },
          }),
        );
        expect(two.digests).toMatchObject({ algorithm: list.algorithm, unknown: 0 });
        const later = { file: file(2), algorithm: list.algorithm };
        expect(await verify(second, later)).toMatchObject({ ...WHOLE, files: two.files });
        expect(await verify(second, list)).toMatchObject({
          missing: { count: 1, paths: ['/srv/w w/odd link'] },
          extra: { count: 1, paths: ['/srv/w w/new'] },
        });
        expect(await readdir(path.dirname(file(1)))).not.toContain(`${path.basename(file(1))}.raw`);
      },
      LONG_MS,
    );

    itWhere(
      engineHasRepository && !traits.takesDigests,
      'finds by its own checksums that all is there',
      async () => {
        const original = await tree();
        await writeFile(path.join(original, 'x'), 'x');
        const data = await place();
        const done = await engine.copy(copyRequest([source('/srv', original)], data));
        expect(done.digests).toBeUndefined();
        for (const mode of ['quick', 'full'] as const)
          expect(await verify(data, undefined, mode)).toMatchObject(WHOLE);
      },
    );

    itWhere(engineHasRepository, 'takes away one backup and no other, once and again', async () => {
      const original = await tree();
      await writeFile(path.join(original, 'x'), 'x');
      const sources = [source('/srv', original)];
      const [first, second, never] = [await place(), await place(), await place()];
      await engine.copy(copyRequest(sources, first));
      await engine.copy(copyRequest(sources, second));
      for (const dataDirectory of [first, first, never])
        await engine.remove?.({ dataDirectory, backup: backupOf(dataDirectory) });
      const found = await verify(first, undefined, 'quick');
      expect(found.problems).toHaveLength(1);
      expect(await verify(second, undefined, 'full')).toMatchObject({ problems: [] });
      const out = await place();
      await engine.restore(restoreRequest(sources, second, out));
      expect(await compareTrees(original, path.join(out, 'srv'))).toEqual([]);
      await expect(engine.restore(restoreRequest(sources, first, await place()))).rejects.toMatchObject({
        code: 'copyFailed',
      });
    });

    const makesRepositories = engineHasRepository && (traits.makesRepositories ?? true);
    itWhere(makesRepositories, 'makes no repository unasked, and none over another', async () => {
      const nowhere = create(await place());
      await expect(nowhere.openRepository?.({ initialise: false })).rejects.toMatchObject({ code: 'usage' });
      const id = await nowhere.openRepository?.({ initialise: true });
      expect(await nowhere.openRepository?.({ initialise: true })).toBe(id);
      expect(await engine.openRepository?.({ initialise: false })).not.toBe(id);
      // As who makes the directory before the first run has it.
      const empty = await place();
      await mkdir(empty, { recursive: true });
      const made = create(empty);
      await expect(made.openRepository?.({ initialise: false })).rejects.toMatchObject({ code: 'usage' });
      expect(await made.openRepository?.({ initialise: true })).not.toBe(id);
    });

    it('finds one flipped byte', async () => {
      const original = await tree();
      await writeRandom(path.join(original, 'large'), 20);
      await writeFile(path.join(original, 'small'), 'x');
      const [data, lists, apart] = [await place(), await place(), await place()];
      const own = await engineAt(apart);
      const digests = { file: path.join(lists, 'digests.gz'), parent: undefined };
      const done = await own.copy(copyRequest([source('/srv', original)], data, { digests }));
      const list = { file: digests.file, algorithm: done.digests?.algorithm ?? '' };
      const [largest = ''] = (await must('find', data, apart, '-type', 'f', '-size', '+10M')).split('\n');
      await flipBit(largest, 9_000_000);
      const found = await verify(data, list, 'full', own);
      expect(found.changed.count + found.missing.count + found.problems.length).toBeGreaterThan(0);
      const named = [...found.changed.paths, ...found.missing.paths];
      // What follows it in a compressed archive may be hit too.
      const hit = own.name === 'tar' ? named.filter((one) => one !== '/srv/small') : named;
      expect(hit).toEqual(traits.takesDigests ? ['/srv/large'] : []);
    });

    const takesPatterns = traits.takesPatterns ?? true;
    it('merges sources into one tree, nested ones owning what lies below them', async () => {
      const [outer, inner, other] = [await tree(), await tree(), await tree()];
      await mkdir(path.join(outer, 'db', 'hidden-by-the-inner'), { recursive: true });
      await writeFile(path.join(outer, 'keep.log'), 'outer');
      await writeFile(path.join(outer, 'page'), 'outer');
      await writeFile(path.join(inner, 'page.log'), 'inner');
      await writeFile(path.join(inner, 'table'), 'inner');
      await chmod(inner, 0o711);
      await writeFile(path.join(other, 'x'), 'other');
      await utimes(outer, 0, 1_000_000_000.25);
      await utimes(inner, 0, 1_000_000_001.25);
      const out = await roundTrip([
        source('/srv', outer, takesPatterns ? ['*.log'] : []),
        source('/srv/db', inner),
        source('/var/lib/other', other),
      ]);
      const left = takesPatterns ? ['db', 'page'] : ['db', 'keep.log', 'page'];
      expect((await readdir(path.join(out, 'srv'))).toSorted()).toEqual(left);
      expect(await compareTrees(inner, path.join(out, 'srv', 'db'))).toEqual([]);
      expect(await compareTrees(other, path.join(out, 'var', 'lib', 'other'))).toEqual([]);
      expect((await lstat(path.join(out, 'srv'), { bigint: true })).mtimeNs).toBe(1_000_000_000_250_000_000n);
    });

    it('keeps the times of the directories between an outer and a nested source', async () => {
      const [outer, inner] = [await tree(), await tree()];
      await mkdir(path.join(outer, 'a', 'b'), { recursive: true });
      await mkdir(path.join(outer, 'z'));
      await writeFile(path.join(outer, 'z', 'later than a in any order'), 'z');
      await writeFile(path.join(inner, 'x'), 'inner');
      for (const name of ['a/b', 'a', 'z']) await utimes(path.join(outer, name), 0, 1_000_000_004.25);
      const out = await roundTrip([source('/srv', outer), source('/srv/a/b/inner', inner)]);
      expect(await compareTrees(outer, path.join(out, 'srv'), { ignore: isInner })).toEqual([]);
      expect(await compareTrees(inner, path.join(out, 'srv/a/b/inner'))).toEqual([]);
    });

    itWhere(
      takesPatterns,
      'keeps a nested source whose parent directory the outer one leaves out',
      async () => {
        const [outer, inner] = [await tree(), await tree()];
        await mkdir(path.join(outer, 'mnt', 'disk'), { recursive: true });
        await writeFile(path.join(outer, 'page'), 'outer');
        await writeFile(path.join(inner, 'x'), 'inner');
        const out = await roundTrip([source('/', outer, ['/mnt/*']), source('/mnt/disk/data', inner)]);
        expect((await readdir(out)).filter((name) => name !== 'lost+found').toSorted()).toEqual([
          'mnt',
          'page',
        ]);
        expect(await compareTrees(inner, path.join(out, 'mnt', 'disk', 'data'))).toEqual([]);
      },
    );

    it('takes two sources that are read from the same directory', async () => {
      const shared = await tree();
      await writeFile(path.join(shared, 'x'), 'x');
      const out = await roundTrip([source('/srv/a', shared), source('/srv/b', shared)]);
      expect(await compareTrees(shared, path.join(out, 'srv', 'a'), {})).toEqual([]);
      expect(await compareTrees(shared, path.join(out, 'srv', 'b'), {})).toEqual([]);
    });

    it('takes the root as a source, with its attributes', async () => {
      const root = await tree();
      await mkdir(path.join(root, 'etc'));
      await writeFile(path.join(root, 'etc', 'passwd'), 'x');
      await chmod(root, 0o751);
      await utimes(root, 0, 1_000_000_002.25);
      const out = await roundTrip([source('/', root)]);
      expect(await compareTrees(root, out)).toEqual([]);
    });

    it('gives the directories above a source their ACLs, attributes and times too', async () => {
      const original = await tree();
      const closed = path.join(original, 'private');
      const data = path.join(closed, 'data');
      await mkdir(data, { recursive: true });
      await writeFile(path.join(data, 'file'), 'x');
      await chmod(closed, 0o700);
      // The mode's group bits are the mask now, and no rights of the group.
      await must('setfacl', '-m', 'u:54321:rwx,d:u:54321:rwx', closed);
      await must('setfattr', '-n', 'user.k', '-v', '1', closed);
      await must('touch', '-d', '2001-01-01 00:00:00.123456789', closed);
      const out = await roundTrip([source(data, data)]);
      expect(
        await compareTrees(closed, path.join(out, closed), { ignore: (name) => name === 'data' }),
      ).toEqual([]);
    });

    it('gives the directories above a source the modes that they have on the live system', async () => {
      const live = await tree();
      await mkdir(path.join(live, 'private', 'data'), { recursive: true });
      await writeFile(path.join(live, 'private', 'data', 'x'), 'x');
      await chmod(path.join(live, 'private'), 0o710);
      const data = path.join(live, 'private', 'data');
      const out = await roundTrip([source(data, data)]);
      expect((await stat(path.join(out, live, 'private'))).mode & 0o7777).toBe(0o710);
      expect((await stat(out)).mode & 0o7777).toBe(0o700);
    });

    it('does not enter another filesystem that is mounted in a source', async () => {
      const original = await tree();
      const mountpoint = path.join(original, 'mounted');
      await mkdir(mountpoint);
      await writeFile(path.join(original, 'x'), 'x');
      await must('mount', '-t', 'tmpfs', 'none', mountpoint);
      try {
        await writeFile(path.join(mountpoint, 'foreign'), 'foreign');
        const out = await roundTrip([source('/srv', original)]);
        expect((await readdir(path.join(out, 'srv'))).toSorted()).toEqual(['mounted', 'x']);
        expect(await readdir(path.join(out, 'srv', 'mounted'))).toEqual([]);
      } finally {
        await must('umount', mountpoint);
      }
    });

    it('completes what an attempt that was stopped began', async () => {
      const original = await tree();
      for (const name of ['a', 'b', 'c']) await writeRandom(path.join(original, name), 48);
      await mkdir(path.join(original, 'late'));
      await writeFile(path.join(original, 'late', 'file'), 'x');
      const sources = [source('/srv', original)];
      const [data, out] = [await place(), await place()];
      const dataDirectory = path.join(data, 'data');
      await mkdir(dataDirectory, { mode: 0o700 });

      const stop = new AbortController();
      const attempt = engine.copy(
        copyRequest(sources, dataDirectory, { signal: stop.signal, onProgress: () => stop.abort() }),
      );
      await expect(attempt).rejects.toMatchObject({ code: 'copyFailed' });
      // What a SIGKILL leaves and a SIGTERM does not: a half-written file under a name of the tool's own.
      const started = await readdir(dataDirectory);
      if (started.includes('srv')) await writeFile(path.join(dataDirectory, 'srv', '.c.Xa81Lz'), 'half');

      expect((await engine.copy(copyRequest(sources, dataDirectory))).unreadable).toEqual([]);
      expect(await readdir(data)).toEqual(['data']);
      await engine.restore(restoreRequest(sources, dataDirectory, out));
      expect(await compareTrees(original, path.join(out, 'srv'))).toEqual([]);
    });

    it('fails for good when the target is full', async () => {
      const original = await tree();
      const small = await disks.filesystem({ fstype: 'ext4', sizeMiB: 16 });
      const data = path.join(small.mountpoint, 'data');
      await mkdir(data);
      const onSmall = await engineAt(path.join(small.mountpoint, 'repository'));
      await writeRandom(path.join(original, 'large'), 40);
      const error: unknown = await onSmall
        .copy(copyRequest([source('/srv', original)], data))
        .catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(FsbackupError);
      expect(error).toMatchObject({ code: 'copyFailed', exitCode: 40 });
      expect((error as Error).message).toMatch(/No space left/i);
      expect(isRetryable(error)).toBe(false);
    });

    it('restores what cannot be changed in the source so that it can be', async () => {
      const original = await tree();
      await writeFile(path.join(original, 'file'), 'file');
      const sources = [source('/srv', original)];
      const [data, out] = [await place(), await place()];
      await must('chattr', '+i', path.join(original, 'file'));
      try {
        await engine.copy(copyRequest(sources, data));
      } finally {
        await must('chattr', '-i', path.join(original, 'file'));
      }
      expect((await engine.restore(restoreRequest(sources, data, out))).unreadable).toEqual([]);
      await rm(path.join(out, 'srv', 'file'));
      expect(await readdir(path.join(out, 'srv'))).toEqual([]);
    });

    it('counts the same when it copies and when it restores, of all that has several names', async () => {
      const original = await tree();
      await writeFile(path.join(original, 'file'), 'file');
      await must('mkfifo', path.join(original, 'fifo'));
      await must('mknod', path.join(original, 'null'), 'c', '1', '3');
      for (const name of ['file', 'fifo', 'null'])
        for (const link of ['a', 'z'])
          await must('ln', path.join(original, name), path.join(original, `${link}-${name}`));
      const sources = [source('/srv', original)];
      const [data, out] = [await place(), await place()];
      const copied = await engine.copy(copyRequest(sources, data));
      const restored = await engine.restore({ ...restoreRequest(sources, data, out), isEmpty: true });
      expect(restored.files).toBe(copied.files);
    });

    it('fails when a source is not there', async () => {
      const original = await tree();
      const request = copyRequest([source('/srv/gone', path.join(original, 'gone'))], await place());
      await expect(engine.copy(request)).rejects.toMatchObject({ code: 'copyFailed' });
      await expect(engine.copy(request)).rejects.toThrow('/srv/gone');
    });

    restoresOfPaths({ engine: () => engine, tree, place });

    it('copies the rest and names the files that cannot be read', async () => {
      const damaged = await disks.filesystem({ fstype: 'ext4' });
      const at = (name: string): string => path.join(damaged.mountpoint, name);
      for (const name of ['bad attributes', 'bad inode', 'good', 'z bad\nextents'])
        await writeFile(at(name), 'content'.repeat(9000));
      const inode = async (name: string): Promise<string> => `<${(await lstat(at(name))).ino}>`;
      const [badInode, badExtents] = [await inode('bad inode'), await inode('z bad\nextents')];
      const [badAttributes, good] = [await inode('bad attributes'), await inode('good')];
      await must('umount', damaged.mountpoint);
      // Garbage for the checksum of one inode, the extent header of another, the extended attributes of a third: the
      // kernel refuses to read them.
      const foreign = (await must('debugfs', '-R', `bmap ${good} 0`, damaged.image)).trim();
      await must('debugfs', '-w', '-R', `set_inode_field ${badInode} checksum 1`, damaged.image);
      await must('debugfs', '-w', '-R', `set_inode_field ${badExtents} block[0] 7`, damaged.image);
      await must(
        'debugfs',
        '-w',
        '-R',
        `set_inode_field ${badAttributes} file_acl ${foreign}`,
        damaged.image,
      );
      await must('mount', '-o', 'ro', damaged.device, damaged.mountpoint);

      const sources = [source('/srv', damaged.mountpoint)];
      const [data, out] = [await place(), await place()];
      const unreadable = (await engine.copy(copyRequest(sources, data))).unreadable.toSorted();
      expect(unreadable).toEqual([
        '/srv/bad attributes',
        '/srv/bad inode',
        String.raw`/srv/z bad\012extents`,
      ]);
      await engine.restore({ ...restoreRequest(sources, data, out), notInBackup: unreadable });
      expect(await must('cmp', at('good'), path.join(out, 'srv', 'good'))).toBe('');
      // Zeros in place of it would overwrite a whole one.
      expect(await readdir(path.join(out, 'srv'))).not.toContain('z bad\nextents');
      const again = { ...restoreRequest(sources, data, out, ['/srv']), notInBackup: unreadable };
      await engine.restore(again);
      expect(await readdir(path.join(out, 'srv'))).not.toContain('z bad\nextents');
    });
  });
}

/** The part of it that is about paths and patterns, for an engine that passes all of it on another filesystem. */
export function copyEnginePathsContract(
  create: (storage: string) => CopyEngine,
  { name, variant = '', needs }: Pick<EngineTraits, 'name' | 'variant' | 'needs'>,
  fstype: 'ext4' | 'xfs',
): void {
  describeNeeding(
    ['root', 'loop', fstype, ...needs],
    `the ${name} engine ${variant} on ${fstype}, paths`,
    () => {
      const disks = throwawayDisks(afterAll);
      let engine: CopyEngine;
      let places: Places;

      beforeAll(async () => {
        const origin = await disks.filesystem({ fstype, name: 'origin' });
        const target = await disks.filesystem({ fstype, name: 'target' });
        places = new Places(origin, target);
        engine = create(await places.place());
        await engine.openRepository?.({ initialise: true });
      });

      restoresOfPaths({
        engine: () => engine,
        tree: () => places.tree(),
        place: () => places.place(),
      });
    },
  );
}
