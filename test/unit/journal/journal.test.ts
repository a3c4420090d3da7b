import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { writeDurably } from '../../../src/journal/durable-file.js';
import {
  openJournal,
  readJournal,
  type Journal,
  type JournalDirectories,
} from '../../../src/journal/journal.js';
import type { SnapshotRef } from '../../../src/snapshots/provider.js';

let root: string;
let directories: JournalDirectories;

const owner = {
  job: 'srv',
  runId: '20261123T184500Z-1a2b3c',
  process: { bootId: 'b', pid: 7, startTime: 9 },
};
const ref: SnapshotRef & { data: Record<string, string> } = {
  provider: 'reflink',
  name: 'fsbackup-srv-0',
  mountpoint: '/srv',
  fstype: 'ext4',
  takenFrozen: true,
  data: { file: '/img' },
};

beforeEach(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'journal-'));
  directories = { durable: path.join(root, 'state/journal'), volatile: path.join(root, 'run/journal') };
});

afterEach(async () => {
  vi.useRealTimers();
  await rm(root, { recursive: true });
});

describe('the journal', () => {
  it('keeps what outlives a reboot apart from what does not, and forgets what was released', async () => {
    const journal = openJournal(directories, owner);
    const snapshot = await journal.record('snapshot', ref);
    const exposure = await journal.record('exposure', { snapshot: ref, path: '/run/mnt/0' });
    expect(await readdir(directories.durable)).toEqual([`${snapshot.id}.json`]);
    expect(await readdir(directories.volatile)).toEqual([`${exposure.id}.json`]);

    const { entries, unreadable } = await readJournal(directories);
    expect(unreadable).toEqual([]);
    expect(entries.map(({ entry }) => entry)).toEqual(
      expect.arrayContaining([
        expect.objectContaining({
          kind: 'snapshot',
          job: 'srv',
          bootId: 'b',
          pid: 7,
          startTime: 9,
          payload: ref,
        }),
        expect.objectContaining({ kind: 'exposure', payload: { snapshot: ref, path: '/run/mnt/0' } }),
      ]),
    );

    await snapshot.remove();
    await snapshot.remove();
    await exposure.remove();
    expect(await readJournal(directories)).toEqual({ entries: [], unreadable: [] });
  });

  it('has applications where they outlive a reboot, and reads those of earlier versions where they do not', async () => {
    const { id } = await openJournal(directories, owner).record('quiesce', {
      name: 'db',
      after: ['true'],
      timeoutMs: 1,
    });
    expect(await readdir(directories.durable)).toEqual([`${id}.json`]);
    await mkdir(directories.volatile, { recursive: true });
    await rename(path.join(directories.durable, `${id}.json`), path.join(directories.volatile, `${id}.json`));
    expect((await readJournal(directories)).entries).toMatchObject([{ entry: { kind: 'quiesce', id } }]);
  });

  it('tells of an entry that was amended what is known last', async () => {
    const staged = await openJournal(directories, owner).record('staging', { directory: '/out/x' });
    const known = { directory: '/out/x', identity: { inode: '7', bornNs: '9' } };
    await staged.amend(known);
    const { entries } = await readJournal(directories);
    expect(entries.map(({ entry }) => [entry.id, entry.payload])).toEqual([[staged.id, known]]);
    await staged.remove();
    expect((await readJournal(directories)).entries).toEqual([]);
  });

  it('is read the newest first, by the order in which it was written, whatever the clock was set to', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const hour = (hours: number): void => void vi.setSystemTime(Date.UTC(2026, 10, 23, hours));
    const written: string[] = [];
    const note = async (journal: Journal): Promise<void> => {
      written.push((await journal.record('snapshot', ref)).id);
    };
    hour(12);
    await note(
      openJournal(directories, { ...owner, runId: 'old', process: { bootId: 'a', pid: 1, startTime: 50 } }),
    );
    const first = openJournal(directories, owner);
    for (let each = 0; each < 12; each += 1) {
      hour(20 - each);
      await note(first);
    }
    // A run after that, by a clock of before it.
    hour(13);
    const process = { ...owner.process, startTime: 10 };
    await note(openJournal(directories, { ...owner, runId: '20261122T184500Z-1a2b3c', process }));
    const { entries } = await readJournal(directories);
    expect(entries.map(({ entry }) => entry.id)).toEqual(written.toReversed());
  });

  it('is for root alone', async () => {
    const { id } = await openJournal(directories, owner).record('snapshot', ref);
    expect((await stat(directories.durable)).mode & 0o777).toBe(0o700);
    expect((await stat(path.join(directories.durable, `${id}.json`))).mode & 0o777).toBe(0o600);
  });

  it('says so when an intent cannot be written', async () => {
    await mkdir(path.dirname(directories.durable), { recursive: true });
    await writeFile(directories.durable, 'a file is in the way');
    await expect(openJournal(directories, owner).record('snapshot', ref)).rejects.toMatchObject({
      code: 'failed',
      message: expect.stringContaining(directories.durable) as string,
    });
  });

  it('reports what it does not understand, and leaves out writes that were cut short', async () => {
    await mkdir(directories.durable, { recursive: true });
    const put = (name: string, text: string): Promise<void> =>
      writeFile(path.join(directories.durable, name), text);
    await put('torn.json', '{"version":1,');
    await put('future.json', JSON.stringify({ version: 2, kind: 'snapshot' }));
    await put('strange.json', JSON.stringify({ version: 1, kind: 'moon' }));
    await put('x.json.tmp', '');
    await symlink('/nonexistent', path.join(directories.durable, 'gone.json'));
    const { entries, unreadable } = await readJournal(directories);
    expect(entries).toEqual([]);
    expect(unreadable.map(({ file }) => path.basename(file))).toEqual([
      'future.json',
      'strange.json',
      'torn.json',
    ]);
    expect(unreadable.at(-1)?.reason).toBe('it is not JSON');
  });
});

describe('a file that cannot be written to its end', () => {
  it('is named, and leaves no half of it, and what was there before', async () => {
    const file = path.join(root, 'entry.json');
    await writeFile(file, 'before');
    await symlink('/dev/full', `${file}.tmp`);
    await expect(writeDurably(file, 'after')).rejects.toMatchObject({
      code: 'ENOSPC',
      message: expect.stringContaining(`'${file}'`) as string,
    });
    expect(await readdir(root)).toEqual(['entry.json']);
    expect(await readFile(file, 'utf8')).toBe('before');
  });
});
