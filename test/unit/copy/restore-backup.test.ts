import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { digestFile } from '../../../src/copy/backup/backup-layout.js';
import { findBackup } from '../../../src/copy/backup/backup-select.js';
import { finishDigestList } from '../../../src/copy/digests/digest-list.js';
import { formatRecord, plainRecord } from '../../../src/copy/digests/digest-record.js';
import type { CopyEngine, CopyResult, RestoreRequest } from '../../../src/copy/engine.js';
import { renderRestore } from '../../../src/copy/backup/render-backups.js';
import { renderPreview } from '../../../src/copy/restore/overwrite-preview.js';
import { restoreBackup, type RestoreOptions } from '../../../src/copy/restore/restore-backup.js';
import BackupsList from '../../../src/commands/backups/list.js';
import BackupsShow from '../../../src/commands/backups/show.js';
import { FsbackupError } from '../../../src/errors.js';
import { makeBackup, makeUnfinished } from '../../support/backups.js';
import { runCommandClass } from '../../support/run-command-class.js';
import { successfulReport } from '../../support/run-reports.js';

/** An engine that restores one file, and remembers what it was asked. */
class FakeEngine implements CopyEngine {
  readonly name = 'rsync';
  asked: RestoreRequest | undefined;
  unreadable: string[] = [];
  warnings: string[] | undefined;
  files = 1;
  onRestore: () => Promise<void> = () => Promise.resolve();

  preflight(): Promise<Record<string, string>> {
    return Promise.resolve({ rsync: '3.2.7' });
  }

  copy(): never {
    throw new Error('nobody copies here');
  }

  verify(): never {
    throw new Error('nobody verifies here');
  }

  async restore(request: RestoreRequest): Promise<CopyResult> {
    this.asked = request;
    await this.onRestore();
    request.onProgress({ bytes: 7, files: 1 });
    const { files, unreadable, warnings } = this;
    return { bytes: 7, files, unreadable, ...(warnings === undefined ? {} : { warnings }) };
  }
}

const ID = '20261120T010000Z-aaaaaa';
let directory: string;
let target: string;
let engine: FakeEngine;

beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), 'restore-'));
  target = path.join(directory, 'target');
  await mkdir(target);
  engine = new FakeEngine();
  vi.stubEnv('FSBACKUP_CONFIG', undefined);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(directory, { recursive: true });
});

function into(name: string, force = false): Pick<RestoreOptions, 'to'> {
  return { to: { directory: path.resolve(directory, name), force } };
}

async function options(changes: Partial<RestoreOptions> = {}): Promise<RestoreOptions> {
  return {
    backup: await findBackup([target], 'srv', () => undefined),
    to: { directory: path.join(directory, 'out'), force: false },
    paths: [],
    engine,
    journal: { record: () => Promise.reject(new Error('nothing is staged here')) },
    signal: new AbortController().signal,
    onProgress: () => undefined,
    asStep: (work) => work(),
    ...changes,
  };
}

describe('a restore', () => {
  beforeEach(() => makeBackup({ target, job: 'srv', backupId: ID }, { sources: ['/srv/www', '/etc'] }));

  it('that broke off says that part of it is there, and how to go on', async () => {
    const out = path.join(directory, 'out');
    const hint = 'Make room where it writes to, then run it again.';
    engine.onRestore = async () => {
      await writeFile(path.join(engine.asked?.destination ?? '', 'part'), 'half');
      throw new FsbackupError('copyFailed', 'the copy failed: rsync: No space left on device', { hint });
    };
    await expect(restoreBackup(await options())).rejects.toMatchObject({
      code: 'copyFailed',
      hint: `${hint} What was restored so far lies in ${out}: add --force, or remove that first.`,
    });
  });

  it('is not done in place by an engine that knows nothing of the sealed view', async () => {
    const request = await options({ to: { inPlace: { confirm: undefined } } });
    await expect(restoreBackup(request)).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringContaining('cannot restore in place'),
    });
    expect(engine.asked).toBeUndefined();
  });

  it('makes a private destination and tells what it restored', async () => {
    const progress: unknown[] = [];
    const report = await restoreBackup(await options({ onProgress: (one) => progress.push(one) }));
    expect(report).toMatchObject({
      outcome: 'success',
      exitCode: 0,
      job: 'srv',
      backupId: ID,
      files: 1,
      bytes: 7,
      consistency: 'filesystem',
      snapshotStartedAt: '2026-01-02T03:04:05.249Z',
      paths: [],
      notRestored: [],
      notInBackup: [],
    });
    expect((await stat(report.destination)).mode & 0o7777).toBe(0o700);
    expect(engine.asked).toMatchObject({ sources: ['/srv/www', '/etc'], paths: [] });
    expect(progress).toEqual([{ bytes: 7, files: 1, totalBytes: 7, totalFiles: 1 }]);
  });

  it('fails when the backup is removed meanwhile, though the engine saw nothing of it', async () => {
    const held = path.join(target, 'srv', ID);
    engine.onRestore = () => rename(held, path.join(target, 'srv', `.removing-${ID}`));
    await expect(restoreBackup(await options())).rejects.toMatchObject({
      code: 'failed',
      message: `srv@${ID} was removed while it was restored`,
    });
  });

  it('leaves no directory behind that it made and brought nothing to', async () => {
    engine.onRestore = () => Promise.reject(new Error('the repository is gone'));
    const deep = path.join(directory, 'new/deep');
    const to = { directory: deep, force: false };
    await expect(restoreBackup(await options({ to }))).rejects.toThrow('gone');
    expect(await readdir(directory)).toEqual(['target']);
    engine.onRestore = async () => {
      await writeFile(path.join(deep, 'half'), 'half');
      throw new Error('broken off');
    };
    await expect(restoreBackup(await options({ to }))).rejects.toThrow('broken off');
    expect(await readdir(deep)).toEqual(['half']);
    await mkdir(path.join(directory, 'was'));
    engine.onRestore = () => Promise.reject(new Error('gone'));
    await expect(restoreBackup(await options(into('was')))).rejects.toThrow('gone');
    expect(await readdir(directory)).toContain('was');
  });

  it('is no success when fewer files came than the backup has', async () => {
    engine.files = 0;
    await expect(restoreBackup(await options())).rejects.toMatchObject({
      code: 'copyPartial',
      exitCode: 41,
      message: expect.stringContaining('0 files were restored'),
    });
    // Of some paths nobody knows how many there should be, and what is named is not told twice.
    await expect(
      restoreBackup(await options({ ...into('some'), paths: ['/srv/www'] })),
    ).resolves.toBeDefined();
    engine.unreadable = ['/srv/www/x'];
    await expect(restoreBackup(await options(into('rest')))).resolves.toMatchObject({ outcome: 'partial' });
  });

  it('takes a fresh ext4, and refuses what is not empty without force', async () => {
    const out = path.join(directory, 'out');
    await mkdir(path.join(out, 'lost+found'), { recursive: true });
    await restoreBackup(await options());
    await writeFile(path.join(out, 'precious'), 'precious');
    engine.asked = undefined;
    await expect(restoreBackup(await options())).rejects.toMatchObject({ code: 'usage' });
    expect(engine.asked).toBeUndefined();
    expect((await restoreBackup(await options(into('out', true)))).outcome).toBe('success');
    expect(await readdir(out)).toContain('precious');
  });

  it('refuses a destination that is a file, or among the backups, by a symlink too', async () => {
    await writeFile(path.join(directory, 'file'), 'x');
    await symlink(path.join(target, 'srv', ID), path.join(directory, 'alias'));
    for (const destination of ['/dev/null', '/proc/x', 'file', 'file/below', 'alias/data/srv', 'alias']) {
      const refused = options(into(destination, true)).then(restoreBackup);
      await expect(refused).rejects.toMatchObject({ code: 'usage' });
    }
    expect(engine.asked).toBeUndefined();
    expect(await readFile(path.join(target, 'srv', ID, 'data/srv/file'), 'utf8')).toBe('content');
  });

  it('takes paths as they were, and refuses those that the backup cannot hold', async () => {
    await restoreBackup(await options({ paths: ['/srv/www/x/', '/etc//passwd', '/srv'] }));
    expect(engine.asked?.paths).toEqual(['/srv/www/x', '/etc/passwd', '/srv']);
    await restoreBackup(await options({ paths: ['/'], ...into('all') }));
    expect(engine.asked?.paths).toEqual([]);
    for (const wanted of ['/home/x', 'srv/www', '/srv/www/../../home', '']) {
      await expect(restoreBackup(await options({ paths: [wanted] }))).rejects.toThrow('not in the backup');
    }
  });

  it('is refused for a path that the list of digests does not have, and names the nearest', async () => {
    const ref = { target, job: 'srv', backupId: '20261121T010000Z-bbbbbb' };
    const raw = path.join(directory, 'raw');
    const names = ['www', 'www/en', 'www/en/f1.html', 'www/en/f20.html', 'xyz', 'xyz/f1.html'];
    await writeFile(raw, names.map((name) => `${formatRecord(plainRecord('d', `srv/${name}`))}\n`).join(''));
    const { sha256, entries, unknown } = await finishDigestList(raw, `${raw}.gz`, undefined);
    await makeBackup(ref, {
      completedAt: '2026-11-21T01:00:05.000Z',
      sources: ['/srv/www', '/srv/xyz'],
      unreadable: ['/srv/www/secret'],
      digests: { sha256, entries, unknown, algorithm: 'xxh128' },
    });
    await rename(`${raw}.gz`, digestFile(ref));
    let count = 0;
    const part = async (...paths: string[]): Promise<unknown> =>
      await restoreBackup(await options({ paths, ...into(`part-${(count += 1)}`) }));

    await expect(
      part('/srv/xyz/f1.htm', '/srv/www/en/f1.html', '/srv/www/em/f20.html'),
    ).rejects.toMatchObject({
      code: 'usage',
      message: `not in the backup srv@${ref.backupId}: /srv/xyz/f1.htm, /srv/www/em/f20.html`,
      hint: expect.stringMatching(
        /^Did you mean \/srv\/www\/en\/f20\.html, \/srv\/xyz\/f1\.html\? `fsbackup backups files srv@/,
      ) as string,
    });
    expect(engine.asked).toBeUndefined();
    expect(await readdir(directory)).not.toContain('part-1');
    // What is in it, what is above the sources, and what the manifest knows to be missing.
    for (const wanted of ['/srv/www/en/f1.html', '/srv/www', '/srv', '/srv/www/secret/x']) {
      await expect(part(wanted)).resolves.toBeDefined();
    }
    // A list that is not that of the manifest tells nothing.
    await writeFile(digestFile(ref), 'x');
    await expect(part('/srv/www/gone')).resolves.toBeDefined();
  });

  it('exits 41 when something could not be restored', async () => {
    engine.unreadable = ['/srv/www/x'];
    expect(await restoreBackup(await options())).toMatchObject({
      outcome: 'partial',
      exitCode: 41,
      notRestored: ['/srv/www/x'],
    });
  });

  it('ends with the reason of the interruption', async () => {
    const stop = new AbortController();
    engine.onRestore = () => {
      stop.abort(new Error('interrupted'));
      return Promise.reject(new Error('the copy was stopped'));
    };
    await expect(restoreBackup(await options({ signal: stop.signal }))).rejects.toThrow('interrupted');
  });
});

it('in place asks with the instant that the data is of', () => {
  const preview = { files: 1, existing: 0, sample: [] };
  const asked = { name: 'srv@x', completedAt: 'C', paths: ['/srv'] };
  expect(renderPreview(preview, { ...asked, taken: 'T' })).toContain('completed C, data of T, to where');
  expect(renderPreview(preview, asked)).toContain('completed C, to where');
});

describe('a restore from a backup that was partial', () => {
  it('warns of what was asked for and is not in it', async () => {
    await makeBackup({ target, job: 'srv', backupId: ID }, { unreadable: ['/srv/lost', '/srv/b/lost'] });
    expect(await restoreBackup(await options())).toMatchObject({
      outcome: 'warnings',
      exitCode: 3,
      notInBackup: ['/srv/lost', '/srv/b/lost'],
    });
    const part = { paths: ['/srv/b'], ...into('part') };
    expect((await restoreBackup(await options(part))).notInBackup).toEqual(['/srv/b/lost']);
  });
});

describe('a restore of which something could not be found out', () => {
  it('warns of that, and is no success', async () => {
    const warnings = ['attributes were not compared'];
    await makeBackup({ target, job: 'srv', backupId: ID });
    engine.warnings = warnings;
    const report = await restoreBackup(await options());
    expect(report).toMatchObject({ outcome: 'warnings', exitCode: 3, warnings });
    expect(renderRestore(report)).toContain('warning: attributes were not compared');
  });
});

describe('a restore from a backup that was made with warnings', () => {
  it('tells them, but for those of a success, which are about the host', async () => {
    const warnings = ['the subvolume /srv/sub below /srv is not in the backup'];
    const ref = { target, job: 'srv', backupId: ID };
    await makeBackup(ref, { report: successfulReport({ outcome: 'warnings', exitCode: 3, warnings }) });
    const report = await restoreBackup(await options());
    expect([report.backupWarnings, report.exitCode]).toEqual([warnings, 0]);
    expect(renderRestore(report)).toContain(`the backup was made with a warning: ${warnings[0]}`);

    const later = { target, job: 'srv', backupId: '20261121T010000Z-bbbbbb' };
    await makeBackup(later, {
      completedAt: '2026-11-21T01:00:05.000Z',
      report: successfulReport({ warnings }),
    });
    expect(await restoreBackup(await options(into('later')))).not.toHaveProperty('backupWarnings');
  });
});

describe('backups list', () => {
  it('tells every backup and its state', async () => {
    await makeBackup({ target, job: 'srv', backupId: ID }, { unreadable: ['/srv/x'] });
    await makeUnfinished({ target, job: 'srv', backupId: '20261121T010000Z-bbbbbb' });
    await makeUnfinished({ target, job: 'web', backupId: '20261121T010000Z-cccccc' }, '{');
    const text = (await runCommandClass(BackupsList, ['--from', target])).stdout;
    expect(text).toContain(target);
    expect(text).toMatch(new RegExp(`srv@${ID} +rsync +7 B +1 file +filesystem +complete, partial`));
    expect(text).toMatch(/srv@20261121T010000Z-bbbbbb +incomplete/);
    expect(text).toMatch(/web@20261121T010000Z-cccccc +damaged/);

    const json = await runCommandClass(BackupsList, ['srv', '--from', target, '--json']);
    expect(JSON.parse(json.stdout)).toMatchObject({
      version: 1,
      backups: [
        { job: 'srv', backupId: ID, state: 'complete', engine: 'rsync', files: 1, bytes: 7, unreadable: 1 },
        { job: 'srv', state: 'incomplete', engine: null, problem: null },
      ],
    });
  });

  it('takes the targets of the configuration', async () => {
    await makeBackup({ target, job: 'srv', backupId: ID });
    const config = path.join(directory, 'config.yaml');
    const jobs = {
      srv: { sources: ['/srv'], targets: [target] },
      web: { sources: ['/var/www'], targets: ['/nowhere'] },
    };
    await writeFile(config, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
    const { stdout } = await runCommandClass(BackupsList, ['srv', '--config', config]);
    expect(stdout).toContain(`srv@${ID}`);
    const unknown = await runCommandClass(BackupsList, ['srb', '--config', config]);
    expect(unknown).toMatchObject({ exitCode: 3 });
    await writeFile(
      config,
      JSON.stringify({ version: 1, jobs: { ...jobs, web: { ...jobs.web, targets: [target] } } }),
    );
    expect(await runCommandClass(BackupsList, ['web', '--config', config])).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining('no backups') as string,
    });
    expect(await runCommandClass(BackupsList, ['srb', '--config', config])).toMatchObject({
      exitCode: 2,
      stderr:
        'Error: there is no job srb, and no backup of one that had this name\nThe configuration has: srv, web.\n',
    });
  });

  it('says what to name when nothing tells where the backups are', async () => {
    const { exitCode, stderr } = await runCommandClass(BackupsList, [
      '--config',
      path.join(directory, 'none.yaml'),
    ]);
    expect(exitCode).toBe(2);
    expect(stderr).toContain('--from');
    expect((await runCommandClass(BackupsList, ['--from', ''])).exitCode).toBe(2);
  });

  it('exits 2 for a target that is not there', async () => {
    const { exitCode, stderr } = await runCommandClass(BackupsList, ['--from', path.join(directory, 'gone')]);
    expect(exitCode).toBe(2);
    expect(stderr.trim().split('\n')).toHaveLength(2);
  });
});

describe('backups show', () => {
  it('tells what the manifest says', async () => {
    await makeBackup({ target, job: 'srv', backupId: ID });
    const { stdout } = await runCommandClass(BackupsShow, ['srv', '--from', target]);
    expect(stdout).toContain(`srv@${ID}`);
    expect(stdout).toContain('rsync 3.2.7');
    expect(stdout).toContain('/srv 44.6 ms');
    expect(stdout).toMatch(/^data of +2026-01-02T03:04:05\.249Z$/m);
    const json = await runCommandClass(BackupsShow, [`srv@${ID}`, '--from', target, '--json']);
    expect(JSON.parse(json.stdout)).toMatchObject({
      version: 1,
      target,
      backupId: ID,
      report: { job: 'srv', outcome: 'success' },
    });
  });

  it('exits 2 for one that is not complete', async () => {
    await makeUnfinished({ target, job: 'srv', backupId: ID });
    const run = await runCommandClass(BackupsShow, [`srv@${ID}`, '--from', target]);
    expect(run.exitCode).toBe(2);
    expect(run.stderr).toContain('incomplete');
  });
});
