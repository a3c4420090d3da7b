import { execFile } from 'node:child_process';
import { link, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backupDirectory } from '../../../src/copy/backup/backup-layout.js';
import { beginBackup } from '../../../src/copy/backup/backup-store.js';
import { LineWriter } from '../../../src/copy/digests/digest-lines.js';
import { keepInterrupted } from '../../../src/copy/backup/interrupted-backup.js';
import { readResumeNote, writeResumeNote } from '../../../src/copy/rsync/resume-note.js';
import { hostLabel } from '../../../src/system/host-label.js';
import { resumeNoteOf } from '../../support/resume-note.js';

const FORMER = '20260101T000000Z-abcdef';
const ref = { target: '', job: 'srv', backupId: '20260102T000000Z-abcdef' };
let outside: string;
let kept: string;

beforeEach(async () => {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'interrupted-'));
  ref.target = path.join(directory, 'target');
  outside = path.join(directory, 'outside');
  kept = path.join(ref.target, 'srv', `.incomplete-${hostLabel()}`);
  await mkdir(path.join(kept, 'data'), { recursive: true });
  await writeFile(path.join(kept, 'data', 'copied'), '');
  await writeFile(path.join(kept, 'digests.gz.raw'), '');
  await writeFile(outside, 'precious');
  await writeResumeNote(path.join(kept, 'digests.gz'), resumeNoteOf(FORMER));
});
afterEach(() => rm(path.dirname(ref.target), { recursive: true }));

async function namesAfterBegin(): Promise<string[]> {
  await beginBackup(ref, { canGoOn: true });
  expect(await readdir(path.join(ref.target, 'srv'))).toEqual([ref.backupId]);
  return (await readdir(backupDirectory(ref))).toSorted();
}

it('gives a run what an earlier one left', async () => {
  expect(await namesAfterBegin()).toEqual(['data', 'digests.gz.raw', 'digests.gz.resume']);
  expect(await readdir(path.join(backupDirectory(ref), 'data'))).toEqual(['copied']);
});

const strange: Readonly<Record<string, (file: string) => Promise<unknown>>> = {
  'a symlink': (file) => symlink(outside, file),
  'a second name of a file': (file) => link(outside, file),
  'a FIFO': (file) => promisify(execFile)('mkfifo', [file]),
};
it.each(Object.keys(strange))('begins anew where %s is among it', async (what) => {
  await strange[what]?.(path.join(kept, 'digests.gz'));
  expect(await namesAfterBegin()).toEqual(['data']);
  expect(await readdir(path.join(backupDirectory(ref), 'data'))).toEqual([]);
  expect(await readFile(outside, 'utf8')).toBe('precious');
});

describe('what a run that fails leaves', () => {
  const lost = Object.assign(new Error('EIO: i/o error, syncfs'), { code: 'EIO' });
  const onDisk = { sync: () => Promise.resolve() };

  /** Whether it is noted as on disk. */
  async function notedAs(
    writtenBy: string,
    held?: { sync: () => Promise<void> },
  ): Promise<boolean | undefined> {
    await beginBackup(ref, { canGoOn: true });
    const digests = path.join(backupDirectory(ref), 'digests.gz');
    await writeResumeNote(digests, { ...resumeNoteOf(writtenBy), isSynced: false });
    const directory = await keepInterrupted(ref, held);
    return (await readResumeNote(path.join(directory ?? '', 'digests.gz')))?.isSynced;
  }

  it.each([
    ['when it was told of no loss', ref.backupId, onDisk, true],
    ['not when something was lost', ref.backupId, { sync: () => Promise.reject(lost) }, false],
    ['not by another process', ref.backupId, undefined, false],
    ['not where an earlier run wrote it, and it was not looked at yet', FORMER, onDisk, false],
  ])('is noted as on disk: %s', async (_, writtenBy, held, expected) => {
    expect(await notedAs(writtenBy, held)).toBe(expected);
  });
});

it('begins anew where it is a symlink itself', async () => {
  const elsewhere = path.join(path.dirname(ref.target), 'elsewhere');
  await promisify(execFile)('mv', [kept, elsewhere]);
  await symlink(elsewhere, kept);
  expect(await namesAfterBegin()).toEqual(['data']);
  expect(await readdir(elsewhere)).toContain('data');
});

it('writes no list through a symlink', async () => {
  const list = path.join(ref.target, 'list');
  await symlink(outside, list);
  for (const flags of ['w', 'a'] as const) {
    const writer = new LineWriter(list, flags);
    writer.add('line');
    await expect(writer.close()).rejects.toMatchObject({ code: 'ELOOP' });
  }
  expect(await readFile(outside, 'utf8')).toBe('precious');
});
