import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { describe, expect, it } from 'vitest';
import { foundBackupOf, listBytesOf } from '../../../src/copy/rsync-remote/rsync-remote-found.js';
import { RemoteListing, type RemoteBackup } from '../../../src/copy/rsync-remote/rsync-remote-listing.js';
import { formatNote, MAX_NOTE_BYTES } from '../../../src/copy/rsync-remote/rsync-remote-note.js';

const backup = { job: 'srv', backupId: '20261123T184500Z-1a2b3c' };
const header = `fsbackup: backup ${backup.job} ${backup.backupId}`;
const note = formatNote({
  backup,
  host: 'old-host',
  completedAt: '2026-11-23T18:46:00.000Z',
  consistency: undefined,
  sources: ['/srv/ü'],
  files: 3,
  bytes: 9,
  unreadable: ['/srv/lost'],
  digests: { algorithm: 'md5', sha256: 'a'.repeat(64), entries: 4, unknown: 1, sizeBytes: 100 },
});

/** As `head -v` prints it, each line after a blank. */
function printed(text: string, backupId = backup.backupId): string[] {
  return [`==> ./${backupId}.json <==`, ...text.split('\n')].map((line) => ` ${line}`);
}

function noteLines(text: string, { job, backupId } = backup): string[] {
  return [`fsbackup: notes ${job}`, ...printed(text, backupId), 'fsbackup: end'];
}

async function read(...chunks: (string | Buffer)[]): Promise<RemoteListing> {
  const listing = new RemoteListing();
  await pipeline(Readable.from(chunks), listing);
  return listing;
}

async function only(...lines: string[]): Promise<RemoteBackup> {
  const { backups } = await read(`${lines.join('\n')}\n`);
  expect(backups).toHaveLength(1);
  const [first] = backups;
  if (first === undefined) throw new Error('nothing was found');
  return first;
}

describe('what another host tells of its backups', () => {
  it('is put together of pieces that are cut anywhere, and a greeting is passed over', async () => {
    const lines = ['Welcome!', header, `fsbackup: top ${backup.backupId}/srv`, ...noteLines(note), ''];
    const text = Buffer.from(lines.join('\n'));
    const bytes = Array.from({ length: text.length }, (_, at) => text.subarray(at, at + 1));
    const { backups, isAbsent } = await read(...bytes);
    expect(isAbsent).toBe(false);
    expect(backups.map(foundBackupOf)).toEqual([
      {
        ...backup,
        host: 'old-host',
        completedAt: '2026-11-23T18:46:00.000Z',
        consistency: undefined,
        sources: ['/srv/ü'],
        files: 3,
        bytes: 9,
        unreadable: ['/srv/lost'],
        digests: { algorithm: 'md5', sha256: 'a'.repeat(64), entries: 4, unknown: 1 },
      },
    ]);
    expect(backups.map(listBytesOf)).toEqual([100]);
  });

  it.each([
    ['without a note', [], 'no note lies beside it'],
    ['with one that is damaged', noteLines('{"version": 1'), 'cannot be used: it is no JSON'],
    ['with that of another', noteLines(note.replace('"srv"', '"other"')), 'that of other@'],
  ])('%s: its sources are what lies in it', async (_, lines, why) => {
    const names = ['srv', '.hidden', 'café', '.', '..', '', '../etc', '/etc'];
    const found = await only(
      header,
      ...names.map((name) => `fsbackup: top ${backup.backupId}/${name}`),
      ...lines,
    );
    const told = foundBackupOf(found);
    expect(told).toMatchObject({
      ...backup,
      host: '',
      completedAt: '2026-11-23T18:45:00.000Z',
      consistency: undefined,
      files: undefined,
      bytes: undefined,
    });
    expect(told.sources).toEqual(['/srv', '/.hidden', '/café']);
    expect(told.doubts).toEqual([expect.stringContaining(why)]);
    expect(listBytesOf(found)).toBeUndefined();
  });

  it('has only what may be a backup in it', async () => {
    const id = backup.backupId;
    const { backups } = await read(
      [
        ...noteLines(note),
        `fsbackup: backup ../x ${id}`,
        ...noteLines(note, { job: '../x', backupId: id }),
        'fsbackup: backup srv ../../etc',
        'fsbackup: backup srv 20269923T184500Z-1a2b3c',
        'fsbackup: top etc',
        'fsbackup: backup srv',
        header,
        header,
        'fsbackup: top etc',
        'fsbackup: top 20261123T184500Z-ffff/etc',
        // Of a job whose notes these are not.
        ...noteLines(note, { job: 'other', backupId: id }),
        ...printed(note),
        '',
      ].join('\n'),
    );
    expect(backups).toMatchObject([{ ...backup, top: [], note: undefined }]);
  });

  it('says that there is no place for backups', async () => {
    expect((await read('fsbackup: absent\n')).isAbsent).toBe(true);
  });

  it.each([
    ['a line without an end', ['x'.repeat(MAX_NOTE_BYTES), 'x'.repeat(4096)]],
    [
      'backups without an end',
      Array.from({ length: 101 }, (_, part) =>
        Array.from(
          { length: 1000 },
          (_none, at) => `fsbackup: backup j${part}-${at} ${backup.backupId}\n`,
        ).join(''),
      ),
    ],
  ])('is not held in memory when it is %s', async (_, chunks) => {
    await expect(read(...chunks)).rejects.toThrow('more backups than there can be');
  });
});
