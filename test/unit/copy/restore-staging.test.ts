import { mkdir, mkdtemp, readdir, realpath, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { removeStaging, withStaging } from '../../../src/copy/restore/restore-staging.js';
import type { Payload } from '../../../src/journal/entry.js';
import type { Journal } from '../../../src/journal/journal.js';

type Staging = Payload<'staging'>;

let out: string;
let precious: string;
/** What the journal holds, and each state that it had. */
let entry: Staging | undefined;
let states: string[];

const journal: Journal = {
  record: async (kind, payload) => {
    expect(kind).toBe('staging');
    const write = async (held: object): Promise<void> => {
      entry = held as Staging;
      const isThere = (await readdir(out)).includes(path.basename(entry.directory));
      states.push(`${isThere ? 'there' : 'not there'}, ${entry.identity ? 'known' : 'unknown'}`);
    };
    await write(payload);
    return { id: 'one', amend: write, remove: async () => void (entry = undefined) };
  },
};

beforeEach(async () => {
  const root = await realpath(await mkdtemp(path.join(os.tmpdir(), 'staging-')));
  [out, precious] = [path.join(root, 'out'), path.join(root, 'precious')];
  await mkdir(out);
  await mkdir(precious);
  await writeFile(path.join(precious, 'file'), 'precious');
  entry = undefined;
  states = [];
});
afterEach(() => rm(path.dirname(out), { recursive: true }));

/** What a restore that was killed in its work leaves in journal and destination. */
async function killed(): Promise<Staging> {
  const dead = new Promise<Staging>((resolve) => {
    void withStaging(out, journal, async (directory) => {
      await mkdir(path.join(directory, 'tree'));
      await writeFile(path.join(directory, 'tree', 'half'), 'half');
      resolve(entry ?? { directory });
      await new Promise(() => undefined);
    });
  });
  return await dead;
}

describe('the staging directory of a restore', () => {
  it('is journalled before it is there, known before anything is in it, private, and gone afterwards', async () => {
    const before = (await stat(out)).mtimeMs;
    const made = await withStaging(out, journal, async (directory) => {
      states.push('work');
      expect((await stat(directory)).mode & 0o7777).toBe(0o700);
      await writeFile(path.join(directory, 'x'), 'x');
      return directory;
    });
    expect(path.dirname(made)).toBe(out);
    expect(states).toEqual(['not there, unknown', 'there, known', 'work']);
    expect([await readdir(out), entry]).toEqual([[], undefined]);
    expect((await stat(out)).mtimeMs).toBeCloseTo(before, 1);
  });

  it('goes when the work fails, and also without a journal', async () => {
    const work = (): Promise<never> => Promise.reject(new Error('no room'));
    for (const one of [journal, undefined])
      await expect(withStaging(out, one, work)).rejects.toThrow('no room');
    expect([await readdir(out), entry]).toEqual([[], undefined]);
  });

  it('stays journalled when it cannot be removed', async () => {
    const failing = withStaging(out, journal, async (directory) => {
      await rename(directory, `${directory}-moved`);
      await mkdir(directory);
    });
    await expect(failing).rejects.toMatchObject({ code: 'cleanupIncomplete' });
    expect(entry).toBeDefined();
  });

  it('is not made where the intent cannot be recorded', async () => {
    const full: Journal = { record: () => Promise.reject(new Error('the journal is full')) };
    await expect(withStaging(out, full, () => Promise.resolve())).rejects.toThrow('the journal is full');
    expect(await readdir(out)).toEqual([]);
  });

  it('is removed of a restore that was killed, once and again', async () => {
    const left = await killed();
    const before = (await stat(out)).mtimeMs;
    for (let round = 0; round < 2; round += 1) await removeStaging(left);
    expect(await readdir(out)).toEqual([]);
    expect((await stat(out)).mtimeMs).toBeCloseTo(before, 1);
  });

  it('that another has put in its place is left alone', async () => {
    const left = await killed();
    await rename(left.directory, path.join(out, 'moved'));
    await mkdir(left.directory);
    await writeFile(path.join(left.directory, 'theirs'), 'theirs');
    await expect(removeStaging(left)).rejects.toMatchObject({ code: 'cleanupIncomplete', exitCode: 60 });
    expect(await readdir(left.directory)).toEqual(['theirs']);
    expect(await readdir(path.join(out, 'moved'))).toEqual(['tree']);
  });

  it('is never looked for behind a symlink, in its own place or above it', async () => {
    const left = await killed();
    await rename(left.directory, path.join(precious, path.basename(left.directory)));
    await symlink(path.join(precious, path.basename(left.directory)), left.directory);
    await expect(removeStaging(left)).rejects.toMatchObject({ code: 'cleanupIncomplete' });
    await rm(left.directory);
    await symlink(precious, path.join(out, 'link'));
    const below = path.join(out, 'link', path.basename(left.directory));
    await expect(removeStaging({ ...left, directory: below })).rejects.toMatchObject({
      code: 'cleanupIncomplete',
    });
    expect(await readdir(path.join(precious, path.basename(left.directory)))).toEqual(['tree']);
  });

  it('without a known identity goes when it is empty, and with something in it is somebody else’s', async () => {
    const { directory } = await killed();
    await expect(removeStaging({ directory })).rejects.toMatchObject({ code: 'cleanupIncomplete' });
    expect(await readdir(directory)).toEqual(['tree']);
    await rm(directory, { recursive: true });
    await mkdir(directory);
    await removeStaging({ directory });
    expect(await readdir(out)).toEqual([]);
  });

  it('has a name that nothing else has: no entry makes anything else go', async () => {
    const { ino, birthtimeNs } = await stat(precious, { bigint: true });
    const identity = { inode: String(ino), bornNs: String(birthtimeNs) };
    await expect(removeStaging({ directory: precious, identity })).rejects.toMatchObject({
      code: 'cleanupIncomplete',
    });
    expect(await readdir(precious)).toEqual(['file']);
  });
});
