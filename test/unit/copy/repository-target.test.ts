import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { dataDirectory } from '../../../src/copy/backup/backup-layout.js';
import { isComplete, listBackups, type Backup } from '../../../src/copy/backup/backup-list.js';
import { findBackup } from '../../../src/copy/backup/backup-select.js';
import { createBackupWriter } from '../../../src/copy/backup/backup-writer.js';
import { targetAt } from '../../../src/copy/repository/catalogue.js';
import type { CopyEngine } from '../../../src/copy/engine.js';
import type { EngineFor } from '../../../src/copy/engines.js';
import { catalogueDirectory, localRepository, targetName } from '../../../src/backup-target.js';
import { FsbackupError } from '../../../src/errors.js';
import type { Journal } from '../../../src/journal/journal.js';
import type { PlannedTarget } from '../../../src/plan/plan.js';
import { applyRetention } from '../../../src/retention/apply.js';
import { successfulReport } from '../../support/run-reports.js';
import { verificationsFrom } from '../../../src/copy/verify/verify-history.js';

const REPOSITORY = 'rest:https://host/srv';
const FIRST = '20261119T010000Z-aaaaaa';
const SECOND = '20261120T010000Z-bbbbbb';
let state: string;
let target: PlannedTarget;
/** What the repository holds. */
let stored: Set<string>;
let id: string | undefined;
let failing: boolean;

/** An engine whose repository is in memory: all that the catalogue needs of one. */
const engines: EngineFor = (made) => {
  const engine: Partial<CopyEngine> = {
    name: 'tar',
    openRepository: async ({ initialise }) => {
      if (id === undefined && initialise) id = 'a-new-one';
      if (id === undefined) throw new FsbackupError('usage', 'there is none', { hint: 'Make one.' });
      return id;
    },
    remove: async ({ dataDirectory: directory, backup }) => {
      if (failing) throw new FsbackupError('cleanupIncomplete', 'no connection', { hint: 'Wait.' });
      // Its reference is still there, and the settings of the repository are.
      expect(await readFile(path.join(directory, 'reference'), 'utf8')).toBe(backup.backupId);
      expect(made.repository).toEqual(target.repository);
      stored.delete(backup.backupId);
    },
  };
  return engine as CopyEngine;
};

const journal: Journal = {
  record: async (kind, payload) => {
    expect(payload).toMatchObject({ repository: REPOSITORY });
    return { id: kind, amend: async () => undefined, remove: async () => undefined };
  },
};

beforeEach(async () => {
  state = await mkdtemp(path.join(os.tmpdir(), 'catalogue-'));
  // Catalogues are read below the state directory alone.
  vi.stubEnv('FSBACKUP_STATE_DIR', state);
  stored = new Set();
  id = 'the-one';
  failing = false;
  target = {
    path: catalogueDirectory('tar', REPOSITORY, state),
    engine: 'tar',
    mustBeMountpoint: false,
    repository: {
      repository: REPOSITORY,
      initialise: true,
      password: { file: '/etc/key' },
      environment: { A: 'b', B: { command: ['pass', 'b'] } },
    },
  };
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(state, { recursive: true, force: true });
});

type Writer = ReturnType<typeof createBackupWriter>;

function writer(): Writer {
  return createBackupWriter({ stateDirectory: state, engines });
}

async function backUp(backupId: string, needs?: string[], complete = true): Promise<Writer> {
  const [one, name] = [writer(), { target, job: 'srv', backupId }];
  await one.preflight(target, 'srv', []);
  await one.begin(name);
  const directory = dataDirectory({ target: target.path, job: 'srv', backupId });
  await writeFile(path.join(directory, 'reference'), backupId);
  stored.add(backupId);
  if (!complete) return one;
  const report = successfulReport({ job: 'srv', runId: backupId });
  const counts = { files: 1, bytes: 1, tools: {}, sources: ['/srv'], unreadable: [] };
  await one.complete(name, { report, needs, ...counts });
  return one;
}

async function retain(): ReturnType<typeof applyRetention> {
  const now = new Date('2026-11-21T00:00:00Z');
  const request = { target, job: 'srv', rules: { last: 1 }, now, verifications: verificationsFrom([]) };
  return await applyRetention(request, { journal, signal: new AbortController().signal, engine: engines });
}

function ids(backups: readonly Backup[]): string[] {
  return backups.map(({ backupId }) => backupId);
}

it('catalogues what is in a repository, privately, under names that tell repositories apart', async () => {
  await backUp(FIRST);
  expect(path.basename(target.path)).toMatch(/^tar-rest-https-host-srv-[0-9a-f]{8}$/);
  expect(catalogueDirectory('tar', `${REPOSITORY}/`, state)).not.toBe(target.path);
  expect((await stat(target.path)).mode & 0o777).toBe(0o700);
  const [backup] = await listBackups(target.path);
  expect(backup).toMatchObject({ backupId: FIRST, repository: target.repository });
  expect(backup !== undefined && isComplete(backup)).toBe(true);
  // Known again without a configuration.
  expect(await targetAt(target.path)).toEqual({ path: target.path, repository: target.repository });
  await expect(findBackup([target.path], 'other', () => undefined)).rejects.toThrow(
    `no backup of other in ${REPOSITORY}`,
  );
});

it('takes a backup away in the repository before its entry, and keeps the entry when that fails', async () => {
  await backUp(FIRST);
  await backUp(SECOND);
  failing = true;
  expect(await retain()).toMatchObject({
    target: REPOSITORY,
    removed: [],
    failed: [
      {
        backupId: FIRST,
        message: `backup ${FIRST} of srv could not be removed from ${REPOSITORY}: no connection`,
      },
    ],
  });
  expect([...stored]).toEqual([FIRST, SECOND]);
  failing = false;
  expect(await retain()).toMatchObject({ removed: [FIRST], failed: [] });
  expect([...stored]).toEqual([SECOND]);
  expect(ids(await listBackups(target.path))).toEqual([SECOND]);
});

it('takes an incomplete one away in the repository too', async () => {
  await backUp(FIRST);
  const its = await backUp(SECOND, undefined, false);
  for (const backupId of [FIRST, SECOND]) {
    await writer().discardIncomplete({ target, job: 'srv', backupId });
  }
  await its.discardIncomplete({ target, job: 'srv', backupId: SECOND });
  expect([...stored]).toEqual([FIRST]);
  expect(ids(await listBackups(target.path))).toEqual([FIRST]);
});

it('keeps what a kept backup needs', async () => {
  await backUp(FIRST);
  await backUp(SECOND, [FIRST]);
  expect(await retain()).toMatchObject({ removed: [], failed: [] });
  expect([...stored]).toEqual([FIRST, SECOND]);
});

it('makes a repository once, and never when the job has written to one there', async () => {
  id = undefined;
  await backUp(FIRST);
  expect(id).toBe('a-new-one');
  id = undefined;
  await expect(backUp(SECOND)).rejects.toMatchObject({ code: 'usage', message: 'there is none' });
  id = 'another';
  await expect(backUp(SECOND)).rejects.toThrow(`${REPOSITORY} is not the repository it was`);
});

it('tells people of a repository without its password', () => {
  const repository = { repository: 'rest:https://me:hush@host/', initialise: false, environment: {} };
  expect(targetName({ path: '/state', repository })).toBe('rest:https://me:***@host/');
  expect(localRepository({ repository })).toBeUndefined();
  expect(localRepository({ repository: { ...repository, repository: 'local:/srv/x' } })).toBe('/srv/x');
});
