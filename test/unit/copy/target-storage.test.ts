import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { catalogueDirectory } from '../../../src/backup-target.js';
import { backupDirectory } from '../../../src/copy/backup/backup-layout.js';
import { beginBackup, discardIncomplete } from '../../../src/copy/backup/backup-store.js';
import type { EngineFor } from '../../../src/copy/engines.js';
import { openCatalogue } from '../../../src/copy/repository/catalogue.js';
import { createTarEngine } from '../../../src/copy/tar/tar-engine.js';
import { removeDrill } from '../../../src/copy/verify/drill-directory.js';
import { asStorage, requireStorage, storageAt } from '../../../src/copy/target/target-storage.js';
import { AbsentStorageError, adviceOf, FsbackupError } from '../../../src/errors.js';
import { journalEntrySchema } from '../../../src/journal/entry.js';
import { finishRemoval } from '../../../src/retention/remove-backup.js';
import { identifyFilesystem, type FilesystemIdentity } from '../../../src/system/filesystem-identity.js';
import { stackOf } from '../../../src/system/filesystem-stack.js';
import { mountOfPath, readMounts } from '../../../src/system/mountinfo.js';
import { makeBackup } from '../../support/backups.js';

/** Of a disk that no host has. */
const AWAY = { kind: 'uuid', value: '5dd6a4d5-38ee-4a5e-b6a1-f62f8cd7e04b', fstype: 'ext4' } as const;
const REF = { job: 'srv', backupId: '20261119T010000Z-aaaaaa' };
let target: string;

beforeEach(async () => {
  target = await mkdtemp(path.join(os.tmpdir(), 'storage-'));
});
afterEach(() => rm(target, { recursive: true, force: true }));

describe('what is not to be seen in a target', () => {
  it('is not gone when the target is on another filesystem than it was', async () => {
    const ref = { target, ...REF };
    const drill = path.join(target, '.fsbackup-drill-x');
    for (const look of [
      () => discardIncomplete(ref, 'tar', undefined, { storage: AWAY }),
      () => finishRemoval({ ...ref, storage: AWAY }),
      () => removeDrill(drill, AWAY),
    ]) {
      const error: unknown = await look().catch((one: unknown) => one);
      expect(error).toBeInstanceOf(AbsentStorageError);
      expect(error).toMatchObject({
        code: 'cleanupIncomplete',
        message: expect.stringContaining(
          `lies on the ext4 ${AWAY.value}, which is not at ${target} now`,
        ) as unknown,
        hint: expect.stringContaining(`Mount UUID=${AWAY.value} there`) as unknown,
      });
    }
  });

  it('is gone when that very filesystem is there, also where the directory is no more, and where nobody wrote it down', async () => {
    const below = path.join(target, 'was', 'here');
    const mount = mountOfPath(await readMounts(), target);
    if (mount === undefined) throw new Error('nothing is mounted');
    const now = await identifyFilesystem(target, { mount, stack: await stackOf(mount) });
    expect(await discardIncomplete({ target: below, ...REF }, 'tar', undefined, { storage: now })).toBe(
      'absent',
    );
    expect(await finishRemoval({ target: below, ...REF, storage: now })).toBe('absent');
    await removeDrill(path.join(below, '.fsbackup-drill-x'), now);
    expect(await discardIncomplete({ target, ...REF }, 'tar')).toBe('absent');
    await requireStorage({ what: 'it', directory: target, name: 'it' }, undefined);
  });

  it('is removed where it is to be seen, whatever it lies on', async () => {
    await mkdir(path.join(target, 't'));
    const ref = { target: path.join(target, 't'), ...REF };
    await beginBackup(ref);
    expect(await discardIncomplete(ref, 'tar', undefined, { storage: AWAY })).toBe('removed');
  });
});

describe('what cannot be removed from a repository', () => {
  const failure = new FsbackupError('copyFailed', 'the copy failed: borg: it does not exist.', {
    hint: 'Mend what it names, then run it again; what was written so far is incomplete.',
  });
  const engines: EngineFor = () => ({ ...createTarEngine(), remove: () => Promise.reject(failure) });

  /** Of a backup in the repository that is half-removed: how ending that fails. */
  async function left(repository: string, storage?: FilesystemIdentity): Promise<unknown> {
    const ref = { target: catalogueDirectory('borg', repository, target), ...REF };
    await openCatalogue({ path: ref.target, repository: { repository, initialise: false, environment: {} } });
    await mkdir(path.join(ref.target, 'srv'), { recursive: true });
    await makeBackup(ref, { engine: 'borg' });
    await rename(backupDirectory(ref), path.join(ref.target, 'srv', `.removing-${REF.backupId}`));
    return await finishRemoval({ ...ref, storage }, engines).catch((error: unknown) => error);
  }

  beforeEach(() => vi.stubEnv('FSBACKUP_STATE_DIR', target));
  afterEach(() => vi.unstubAllEnvs());

  it('may be forgotten where that is gone, or far away', async () => {
    const gone = path.join(target, 'gone');
    for (const repository of [gone, 'ssh://host/./r']) {
      const error = await left(repository);
      expect(error).toBeInstanceOf(AbsentStorageError);
      expect(error).toMatchObject({
        message: `backup ${REF.backupId} of srv could not be removed from ${repository}: borg: it does not exist.`,
        hint: 'Mend what it names, then run it again.',
        left: `backup ${REF.backupId} of srv in ${repository}`,
      });
      expect(adviceOf(error)).not.toContain('..');
      expect(await (error as AbsentStorageError).findDevice()).toBeUndefined();
    }
    const away = await left(path.join(target, 'on-another-disk'), AWAY);
    expect(away).toBeInstanceOf(AbsentStorageError);
    expect((away as Error).message).toContain(`lies on the ext4 ${AWAY.value}, which is not at`);
  });

  it('is still held where that is there', async () => {
    const there = path.join(target, 'there');
    await mkdir(there);
    const error = await left(there);
    expect(error).not.toBeInstanceOf(AbsentStorageError);
    expect(error).toMatchObject({ code: 'cleanupIncomplete', cause: failure });
  });
});

describe('the storage in the journal', () => {
  it('is left out where it goes with the mount, or tells a repository', async () => {
    expect(asStorage({ ...AWAY, kind: 'repository' })).toBeUndefined();
    expect(asStorage({ kind: 'fsid', value: 'f00', fstype: 'tmpfs' })).toBeUndefined();
    expect(asStorage(AWAY)).toBe(AWAY);
    // /proc is in no memory, has no device, and an fsid.
    expect(await storageAt('/proc/1')).toMatchObject({ fstype: 'proc' });
  });

  it('is read, and so are entries of versions that did not write it', () => {
    const entry = (payload: object): unknown => ({
      version: 1,
      id: 'x',
      createdAt: '',
      bootId: '',
      runId: 'r',
      job: 'srv',
      pid: 1,
      startTime: 1,
      kind: 'drill',
      payload: { directory: '/t/.fsbackup-drill-x', ...payload },
    });
    expect(journalEntrySchema.parse(entry({ storage: AWAY })).payload).toMatchObject({ storage: AWAY });
    expect(journalEntrySchema.parse(entry({})).payload).not.toHaveProperty('storage');
  });
});
