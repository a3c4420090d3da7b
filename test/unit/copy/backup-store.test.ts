import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { backupDirectory, dataDirectory, type BackupRef } from '../../../src/copy/backup/backup-layout.js';
import { latestComplete, listBackups, listJobBackups } from '../../../src/copy/backup/backup-list.js';
import { findBackup, parseSelector } from '../../../src/copy/backup/backup-select.js';
import { beginBackup, completeBackup, discardIncomplete } from '../../../src/copy/backup/backup-store.js';
import { thisHost } from '../../../src/system/this-host.js';
import { makeBackup, makeUnfinished, manifestFor } from '../../support/backups.js';

let target: string;
let warnings: string[] = [];
const warn = (message: string): unknown => warnings.push(message);

beforeEach(async () => {
  warnings = [];
  target = await mkdtemp(path.join(os.tmpdir(), 'store-'));
});
afterEach(() => rm(target, { recursive: true, force: true }));

function ref(backupId: string, job = 'srv'): BackupRef {
  return { target, job, backupId };
}

const FIRST = '20261119T010000Z-aaaaaa';
const SECOND = '20261120T010000Z-bbbbbb';
const THIRD = '20261120T130000Z-cccccc';

describe('a backup that is written', () => {
  it('is private, and incomplete until its manifest is there', async () => {
    const one = ref(FIRST);
    await beginBackup(one);
    for (const directory of [path.join(target, 'srv'), backupDirectory(one), dataDirectory(one)]) {
      expect((await stat(directory)).mode & 0o7777).toBe(0o700);
    }
    expect(await listBackups(target)).toEqual([{ ...one, state: 'incomplete' }]);

    await completeBackup(one, manifestFor(one));
    expect(await listBackups(target)).toEqual([{ ...one, state: 'complete', manifest: manifestFor(one) }]);
    expect((await stat(path.join(backupDirectory(one), 'manifest.json'))).mode & 0o7777).toBe(0o600);
    expect((await readdir(backupDirectory(one))).toSorted()).toEqual(['data', 'manifest.json']);
  });

  it('has a digest of its manifest, so that a key which a disk changed is not taken for one that was not there', async () => {
    const one = ref(FIRST);
    await makeBackup(one, { needs: [SECOND] });
    const file = path.join(backupDirectory(one), 'manifest.json');
    const text = await readFile(file, 'utf8');
    const { stdout } = await promisify(execFile)('bash', ['-c', 'sed 2d "$1" | sha256sum', 'bash', file]);
    expect((JSON.parse(text) as { sha256: string }).sha256).toBe(stdout.slice(0, 64));

    await writeFile(file, text.replace('"needs"', '"oeeds"'));
    expect(await listBackups(target)).toEqual([
      { ...one, state: 'damaged', problem: expect.stringContaining('sha256') as string },
    ]);
    // As older versions wrote it.
    await writeFile(file, text.replace(/^ {2}"sha256".*\n/m, ''));
    expect(await listBackups(target)).toMatchObject([{ state: 'complete', manifest: { needs: [SECOND] } }]);
  });

  it('never takes the place of another', async () => {
    await makeBackup(ref(FIRST));
    await expect(beginBackup(ref(FIRST))).rejects.toMatchObject({ code: 'copyFailed' });
    expect(await readFile(path.join(dataDirectory(ref(FIRST)), 'srv', 'file'), 'utf8')).toBe('content');
  });

  it('cannot be named out of its target', async () => {
    for (const bad of [ref('../x'), ref('x'), ref(FIRST, '..'), ref(FIRST, 'a/b'), ref(FIRST, '')]) {
      expect(() => backupDirectory(bad)).toThrow(expect.objectContaining({ code: 'usage' }) as Error);
    }
    await expect(discardIncomplete(ref('..'))).rejects.toMatchObject({ code: 'usage' });
  });
});

describe('a listing', () => {
  it('tells damaged manifests, passes over what is no backup, and never fails for either', async () => {
    await makeBackup(ref(SECOND));
    await makeUnfinished(ref(FIRST));
    await makeUnfinished(ref('20261121T000000Z-0001'), '{ "version": 1');
    await makeUnfinished(ref('20261122T000000Z-0002'), '{ "version": 2 }');
    await makeUnfinished(ref('20261123T000000Z-0003'), JSON.stringify(manifestFor(ref(FIRST))));
    await mkdir(path.join(target, 'srv', 'not-a-backup'));
    await mkdir(path.join(target, 'lost+found'));
    await writeFile(path.join(target, 'file'), 'x');

    const listed = await listBackups(target);
    expect(listed.map(({ backupId, state }) => [backupId.slice(0, 8), state])).toEqual([
      ['20261119', 'incomplete'],
      ['20261120', 'complete'],
      ['20261121', 'damaged'],
      ['20261122', 'damaged'],
      ['20261123', 'damaged'],
    ]);
    const problems = listed.flatMap((backup) => (backup.state === 'damaged' ? [backup.problem] : []));
    expect(problems[0]).toContain('cannot be read');
    expect(problems[1]).toContain('version');
    expect(problems[2]).toContain(`srv@${FIRST}`);
  });

  it('sorts jobs by name and the backups of one second by their completion', async () => {
    await makeBackup(ref(THIRD, 'web'));
    await makeBackup(ref('20261120T010000Z-ffff'), { completedAt: '2026-11-20T01:00:00.100Z' });
    await makeBackup(ref('20261120T010000Z-0000'), { completedAt: '2026-11-20T01:00:00.900Z' });
    expect((await listBackups(target)).map(({ job, backupId }) => `${job}@${backupId}`)).toEqual([
      'srv@20261120T010000Z-ffff',
      'srv@20261120T010000Z-0000',
      `web@${THIRD}`,
    ]);
    expect((await latestComplete(target, 'srv', 'rsync'))?.backupId).toBe('20261120T010000Z-0000');
  });

  it('refuses a target that is not there, and finds nothing in one that no job wrote to', async () => {
    await expect(listBackups(path.join(target, 'gone'))).rejects.toMatchObject({ code: 'usage' });
    expect(await listBackups(target)).toEqual([]);
    expect(await listJobBackups(target, 'srv')).toEqual([]);
  });
});

describe('a parent', () => {
  it('is the last complete backup of the same engine', async () => {
    await makeBackup(ref(FIRST));
    await makeBackup(ref(SECOND), { engine: 'tar' });
    await makeUnfinished(ref(THIRD));
    await makeUnfinished(ref('20261121T000000Z-0001'), 'damaged');
    expect((await latestComplete(target, 'srv', 'rsync'))?.backupId).toBe(FIRST);
    expect((await latestComplete(target, 'srv', 'tar'))?.backupId).toBe(SECOND);
    expect(await latestComplete(target, 'other', 'rsync')).toBeUndefined();
  });
});

describe('a backup that is dated in the future', () => {
  const FUTURE = '20990101T000000Z-ffff';
  const completedAt = '2099-01-01T00:00:09.000Z';

  beforeEach(() => {
    vi.useFakeTimers({ now: new Date('2026-11-24T00:00:00Z'), toFake: ['Date'] });
  });
  afterEach(() => vi.useRealTimers());

  it('is neither the latest nor a parent, and that is said', async () => {
    await makeBackup(ref(FIRST));
    await makeBackup(ref(FUTURE), { completedAt });
    expect(await idOf('srv')).toBe(FIRST);
    expect(warnings).toEqual([expect.stringContaining(`srv@${FUTURE} in ${target} is dated in the future`)]);
    expect((await latestComplete(target, 'srv', 'rsync'))?.backupId).toBe(FIRST);
    // Whoever names it means it.
    expect(await idOf('srv@2099')).toBe(FUTURE);
    expect(warnings).toHaveLength(1);
  });

  it('is one that this host made a moment from now', async () => {
    const soon = '20261124T000400Z-dddddd';
    const changes = { completedAt: '2026-11-24T00:04:05.000Z' };
    await makeBackup(ref(FIRST));
    await makeBackup(ref(soon), { ...changes, host: thisHost() });
    expect(await idOf('srv')).toBe(FIRST);
    expect(warnings).toEqual([expect.stringContaining(`srv@${soon} in ${target} is dated in the future`)]);
    expect((await latestComplete(target, 'srv', 'rsync'))?.backupId).toBe(FIRST);
    // Clocks of hosts differ.
    await makeBackup(ref('20261124T000300Z-eeeeee'), changes);
    expect(await idOf('srv')).toBe('20261124T000300Z-eeeeee');
  });

  it('is better than none, and that is said too', async () => {
    await makeBackup(ref(FUTURE), { completedAt });
    expect(await idOf('srv')).toBe(FUTURE);
    expect(warnings).toHaveLength(1);
    expect((await latestComplete(target, 'srv', 'rsync'))?.backupId).toBe(FUTURE);
  });
});

async function idOf(selector: string): Promise<string> {
  return (await findBackup([target], selector, warn)).backupId;
}

describe('a selector', () => {
  beforeEach(async () => {
    await makeBackup(ref(FIRST));
    await makeBackup(ref(SECOND), { completedAt: '2026-11-20T01:00:09.000Z' });
    await makeBackup(ref(THIRD), { completedAt: '2026-11-20T13:00:09.000Z' });
    await makeUnfinished(ref('20261121T000000Z-0001'));
    await makeUnfinished(ref('20261122T000000Z-0002'), 'damaged');
  });

  it('means the last complete backup without more', async () => {
    expect(await idOf('srv')).toBe(THIRD);
    expect(await idOf('srv@latest')).toBe(THIRD);
  });

  it('takes an id, its beginning, a date and a time', async () => {
    expect(await idOf(`srv@${SECOND}`)).toBe(SECOND);
    expect(await idOf('srv@2026-11-19')).toBe(FIRST);
    expect(await idOf('srv@20261119')).toBe(FIRST);
    expect(await idOf('srv@2026-11-20T13')).toBe(THIRD);
    expect(await idOf('srv@2026-11-20T01:00')).toBe(SECOND);
    expect(await idOf('srv@20261120T010000Z-b')).toBe(SECOND);
  });

  it('takes what an id ends in, or the beginning of that', async () => {
    expect(await idOf(`srv@${SECOND.slice(-6)}`)).toBe(SECOND);
    expect(await idOf(`srv@${THIRD.slice(-6, -2)}`)).toBe(THIRD);
    // The date of one comes before the end of another.
    await makeBackup(ref('20261018T010000Z-20261119'));
    expect(await idOf('srv@20261119')).toBe(FIRST);
    await expect(idOf('srv@bb')).rejects.toMatchObject({ code: 'usage' });
  });

  it('names the candidates when several have it', async () => {
    await expect(idOf('srv@2026-11-20')).rejects.toMatchObject({ code: 'usage' });
    await expect(idOf('srv@2026-11-20')).rejects.toThrow(SECOND);
    await expect(idOf('srv@2026-11-20')).rejects.toThrow(THIRD);
  });

  it('names no more candidates than can be read', async () => {
    const ids = Array.from(
      { length: 12 },
      (_, hour) => `20261123T${String(hour).padStart(2, '0')}0000Z-00aa${hour}`,
    );
    for (const id of ids) await makeBackup(ref(id));
    const told = await idOf('srv@2026-11-23').catch(String);
    expect(told).toContain(`names 12 backups: ${ids.slice(0, 8).join(', ')}, 4 more`);
  });

  it('refuses what is not complete, with the reason', async () => {
    await expect(idOf('srv@20261121T000000Z-0001')).rejects.toThrow('incomplete');
    await expect(idOf('srv@2026-11-22')).rejects.toThrow('damaged');
  });

  it('refuses what is not there', async () => {
    await expect(idOf('srv@2025-01-01')).rejects.toMatchObject({ code: 'usage' });
    await expect(idOf('srv@nonsense')).rejects.toMatchObject({ code: 'usage' });
    await expect(idOf('other')).rejects.toThrow('no backup of other');
    await expect(idOf('../srv')).rejects.toMatchObject({ code: 'usage' });
  });

  it('looks in all targets', async () => {
    const second = await mkdtemp(path.join(os.tmpdir(), 'store-'));
    try {
      const later = { target: second, job: 'srv', backupId: '20261121T000000Z-0001' };
      await makeBackup(later, { completedAt: '2026-11-21T00:00:05.000Z' });
      expect(await findBackup([target, second], 'srv', warn)).toMatchObject(later);
      expect(await findBackup([second, target], 'srv@2026-11-19', warn)).toMatchObject({ target });
    } finally {
      await rm(second, { recursive: true });
    }
  });

  it('takes the copies of one run in several targets for one backup, and the first complete of them', async () => {
    const second = await mkdtemp(path.join(os.tmpdir(), 'store-'));
    const third = await mkdtemp(path.join(os.tmpdir(), 'store-'));
    try {
      const copies = [second, third].map((where) => ({ target: where, job: 'srv', backupId: THIRD }));
      await makeBackup(copies[0] as BackupRef, { completedAt: '2026-11-20T13:00:06.000Z' });
      await makeBackup(copies[1] as BackupRef, { completedAt: '2026-11-20T13:00:09.000Z' });
      for (const selector of ['srv', 'srv@2026-11-20T13', `srv@${THIRD}`, `srv@${THIRD.slice(-6)}`]) {
        expect(await findBackup([second, third], selector, warn)).toMatchObject({ target: second });
        expect(await findBackup([third, second], selector, warn)).toMatchObject({ target: third });
      }
      await makeUnfinished({ target: second, job: 'srv', backupId: FIRST });
      expect(await findBackup([second, target], `srv@${FIRST}`, warn)).toMatchObject({ target });
    } finally {
      await rm(second, { recursive: true });
      await rm(third, { recursive: true });
    }
  });

  it('is a job, or a job and which', () => {
    expect(parseSelector('srv')).toEqual({ job: 'srv', which: 'latest' });
    expect(parseSelector('srv@2026')).toEqual({ job: 'srv', which: '2026' });
  });
});

describe('discarding', () => {
  it('removes an incomplete backup, names that are no UTF-8 included, once and again', async () => {
    const one = ref(FIRST);
    await makeUnfinished(one);
    await writeFile(Buffer.from(`${dataDirectory(one)}/\xFF`, 'latin1'), 'x');
    expect(await discardIncomplete(one)).toBe('removed');
    expect(await discardIncomplete(one)).toBe('absent');
    expect(await listBackups(target)).toEqual([]);
  });

  it('keeps a complete one, and a damaged one', async () => {
    await makeBackup(ref(FIRST));
    await makeUnfinished(ref(SECOND), 'damaged');
    expect(await discardIncomplete(ref(FIRST))).toBe('kept');
    expect(await discardIncomplete(ref(SECOND))).toBe('kept');
    expect(await listBackups(target)).toHaveLength(2);
  });

  it('does not follow a symlink in place of the backup', async () => {
    const elsewhere = path.join(target, 'elsewhere');
    await mkdir(path.join(elsewhere, 'precious'), { recursive: true });
    await mkdir(path.join(target, 'srv'));
    await symlink(elsewhere, backupDirectory(ref(FIRST)));
    await expect(discardIncomplete(ref(FIRST))).rejects.toMatchObject({ code: 'cleanupIncomplete' });
    expect(await readdir(elsewhere)).toEqual(['precious']);
  });
});
