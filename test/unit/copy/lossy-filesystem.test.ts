import { chmod, lstat, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { prepareDestination } from '../../../src/copy/restore/restore-destination.js';
import { refuseLossyTarget } from '../../../src/copy/target/refuse-lossy.js';
import { exists } from '../../../src/system/exists.js';
import { probeKeeping, type NotKept, type ProbeEffects } from '../../../src/system/probe-keeping.js';

const GOOD: NotKept = { foldsNames: false, losesRights: false };
const nothing = async (): Promise<void> => await Promise.resolve();
let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), 'lossy-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

describe('a filesystem that is tried', () => {
  // Who is not root is refused, and that is told.
  const refused = (): Promise<void> => Promise.reject(new Error('EPERM'));
  const effects: ProbeEffects = { exists, chown: refused, chmod };

  it('keeps what it keeps, and nothing of the trial', async () => {
    expect(await probeKeeping(directory)).toEqual(GOOD);
    expect(await probeKeeping(directory, effects)).toEqual(GOOD);
    expect(await readdir(directory)).toEqual([]);
  });

  it('folds names where a file is there by another', async () => {
    const folding = async (file: string): Promise<boolean> =>
      (await readdir(path.dirname(file))).some(
        (name) => name.toLowerCase() === path.basename(file).toLowerCase(),
      );
    expect(await probeKeeping(directory, { ...effects, exists: folding })).toEqual({
      ...GOOD,
      foldsNames: true,
    });
    const normal = async (file: string): Promise<boolean> =>
      (await readdir(path.dirname(file))).some((name) => name === path.basename(file).normalize());
    expect(await probeKeeping(directory, { ...effects, exists: normal })).toEqual({
      ...GOOD,
      foldsNames: true,
    });
  });

  it('loses rights where it says that it has set them, and they are others', async () => {
    for (const lying of [{ chown: nothing }, { chmod: nothing }])
      expect(await probeKeeping(directory, { ...effects, ...lying })).toEqual({ ...GOOD, losesRights: true });
  });

  it('is not judged where nothing can be made', async () => {
    expect(await probeKeeping(path.join(directory, 'not there'))).toEqual(GOOD);
  });
});

describe('what is not kept', () => {
  it('is no target of a tree', async () => {
    await refuseLossyTarget(directory, () => Promise.resolve(GOOD));
    for (const [lost, why] of [
      ['foldsNames', 'tell names apart'],
      ['losesRights', 'owners and modes'],
    ] as const)
      await expect(
        refuseLossyTarget(directory, () => Promise.resolve({ ...GOOD, [lost]: true })),
      ).rejects.toMatchObject({ code: 'usage', message: expect.stringContaining(why) as string });
  });

  it('is told of a destination, which is none and not left behind where names are folded', async () => {
    const target = path.join(directory, 'target');
    await mkdir(path.join(target, 'srv'), { recursive: true });
    const destination = path.join(directory, 'out');
    const backup = { target, job: 'srv', backupId: '20261119T010000Z-aaaaaa' };
    const request = { destination, backup, engine: 'rsync', force: false } as const;
    const folding = { ...GOOD, foldsNames: true };
    await expect(prepareDestination(request, () => Promise.resolve(folding))).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringContaining('tell names apart') as string,
    });
    await expect(lstat(destination)).rejects.toMatchObject({ code: 'ENOENT' });
    const losing = { ...GOOD, losesRights: true };
    expect(await prepareDestination(request, () => Promise.resolve(losing))).toMatchObject({
      losesRights: true,
    });
  });
});
