import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backupDirectory, digestFile, type BackupRef } from '../../../src/copy/backup/backup-layout.js';
import { digestsOf } from '../../../src/copy/digests/backup-digests.js';
import { listBackups } from '../../../src/copy/backup/backup-list.js';
import { findContentsFile } from '../../../src/copy/filesystem/contents-file.js';
import { readBatches } from '../../../src/copy/digests/digest-lines.js';
import { listInterrupted } from '../../../src/copy/backup/interrupted-backup.js';
import { readResumeNote } from '../../../src/copy/rsync/resume-note.js';
import { readStored, requireStored, sha256Of, streamStored } from '../../../src/copy/stored/stored-file.js';
import * as z from 'zod';
import { makeBackup, manifestFor } from '../../support/backups.js';

let directory: string;
let file: string;

beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), 'stored-'));
  file = path.join(directory, 'file');
});
afterEach(() => rm(directory, { recursive: true }));

const made: Readonly<Record<string, (name: string) => Promise<unknown>>> = {
  'a FIFO': (name) => promisify(execFile)('mkfifo', [name]),
  'a symlink to a file': async (name) => {
    await writeFile(`${name}-elsewhere`, 'text');
    await symlink(`${name}-elsewhere`, name);
  },
  'a symlink to a device': (name) => symlink('/dev/zero', name),
  'a directory': (name) => mkdir(name),
};

async function fillBatches(name: string): Promise<string[]> {
  const found: string[] = [];
  for await (const lines of readBatches(name)) found.push(...lines);
  return found;
}

describe.each(Object.keys(made))('in the place of a file of a target, %s', (what) => {
  it('is not read, and not waited for', async () => {
    await made[what]?.(file);
    const failed = { code: 'failed', message: `${file} is not a regular file` };
    for (const read of [readStored, streamStored, sha256Of, requireStored, fillBatches])
      await expect(read(file)).rejects.toMatchObject(failed);
  });

  it('is a damaged manifest, a list that is none, no note, no contents', async () => {
    const ref: BackupRef = { target: directory, job: 'srv', backupId: '20260101T000000Z-abcdef' };
    const digests = { algorithm: 'md5', sha256: 'x', entries: 0, unknown: 0 };
    await makeBackup(ref, { digests });
    await made[what]?.(digestFile(ref));
    const backup = { ...ref, state: 'complete', manifest: manifestFor(ref, { digests }) } as const;
    const signal = new AbortController().signal;
    expect(await digestsOf(backup, { engine: {}, signal })).toEqual({
      problem: `${digestFile(ref)} is not a regular file`,
    });
    const contents = path.join(backupDirectory(ref), 'data', 'contents.json');
    await made[what]?.(contents);
    await expect(findContentsFile(path.dirname(contents), z.object({}))).rejects.toMatchObject({
      code: 'failed',
    });

    const manifest = path.join(backupDirectory(ref), 'manifest.json');
    await rm(manifest);
    await made[what]?.(manifest);
    const problem = `manifest.json cannot be read: ${manifest} is not a regular file`;
    expect(await listBackups(directory)).toEqual([{ ...ref, state: 'damaged', problem }]);

    const kept = path.join(directory, 'srv', '.incomplete-host');
    await mkdir(kept);
    await made[what]?.(path.join(kept, 'digests.gz.resume'));
    expect(await readResumeNote(path.join(kept, 'digests.gz'))).toBeUndefined();
    expect(await listInterrupted(directory)).toEqual([]);
  });
});

it('a file is read as it is, up to what a text may have', async () => {
  await writeFile(file, 'one\ntwo');
  expect([await readStored(file), await text(await streamStored(file)), await fillBatches(file)]).toEqual([
    'one\ntwo',
    'one\ntwo',
    ['one', 'two'],
  ]);
  await requireStored(file);
  await truncate(file, 16 * 1024 ** 2 + 1);
  await expect(readStored(file)).rejects.toMatchObject({ code: 'failed' });
  await expect(fillBatches(file)).rejects.toThrow('a line without an end');
});

it('a file that is not there is told by the system, or by who opens it', async () => {
  for (const read of [readStored, streamStored, sha256Of])
    await expect(read(file)).rejects.toMatchObject({ code: 'ENOENT' });
  await requireStored(file);
});
