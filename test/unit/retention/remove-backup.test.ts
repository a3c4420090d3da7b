import { mkdir, mkdtemp, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backupDirectory, dataDirectory, type BackupRef } from '../../../src/copy/backup/backup-layout.js';
import { listBackups } from '../../../src/copy/backup/backup-list.js';
import { discardIncomplete } from '../../../src/copy/backup/backup-store.js';
import type { EngineFor } from '../../../src/copy/engines.js';
import { createTarEngine } from '../../../src/copy/tar/tar-engine.js';
import { verificationsFrom, type VerifyRecord } from '../../../src/copy/verify/verify-history.js';
import type { Journal } from '../../../src/journal/journal.js';
import { applyRetention, judgeRetention } from '../../../src/retention/apply.js';
import { pruneReport, renderPrune } from '../../../src/retention/render.js';
import { finishRemoval, removeBackup } from '../../../src/retention/remove-backup.js';
import { makeBackup, makeUnfinished, manifestFor } from '../../support/backups.js';

const FIRST = '20261119T010000Z-aaaaaa';
const SECOND = '20261120T010000Z-bbbbbb';
const THIRD = '20261121T010000Z-cccccc';
let target: string;
let intents: string[];

/** Knows at each moment which removals are journalled. */
const journal: Journal = {
  record: async (kind, payload) => {
    const intent = `${kind} ${'backupId' in payload ? payload.backupId : ''}`;
    intents.push(intent);
    return {
      id: intent,
      amend: async () => undefined,
      remove: async () => {
        intents = intents.filter((one) => one !== intent);
      },
    };
  },
};

beforeEach(async () => {
  target = await mkdtemp(path.join(os.tmpdir(), 'removal-'));
  intents = [];
});
afterEach(() => rm(target, { recursive: true, force: true }));

function ref(backupId: string): BackupRef {
  return { target, job: 'srv', backupId };
}

function removing(backupId: string): string {
  return path.join(target, 'srv', `.removing-${backupId}`);
}

async function idsLeft(): Promise<string[]> {
  return (await listBackups(target)).map(({ backupId }) => backupId);
}

describe('a removal', () => {
  it('takes the backup and its intent away', async () => {
    await makeBackup(ref(FIRST));
    await makeBackup(ref(SECOND));
    await removeBackup(ref(FIRST), journal);
    expect(await readdir(path.join(target, 'srv'))).toEqual([SECOND]);
    expect(intents).toEqual([]);
  });

  it('never touches what is incomplete, damaged, or not there', async () => {
    await makeUnfinished(ref(FIRST));
    await makeUnfinished(ref(SECOND), 'damaged');
    for (const id of [FIRST, SECOND, THIRD])
      await expect(removeBackup(ref(id), journal)).rejects.toMatchObject({ code: 'failed' });
    expect(await idsLeft()).toEqual([FIRST, SECOND]);
  });

  it('is ended by another process where it was cut short, at whatever moment', async () => {
    await makeBackup(ref(FIRST));
    // Killed between the intent and the rename: the backup is whole, and stays.
    expect(await finishRemoval(ref(FIRST))).toBe('absent');
    expect(await idsLeft()).toEqual([FIRST]);
    // After the rename.
    await rename(backupDirectory(ref(FIRST)), removing(FIRST));
    expect(await idsLeft()).toEqual([]);
    expect(await finishRemoval(ref(FIRST))).toBe('removed');
    // When all data was gone.
    await makeBackup(ref(SECOND));
    await rm(dataDirectory(ref(SECOND)), { recursive: true });
    await rename(backupDirectory(ref(SECOND)), removing(SECOND));
    expect(await finishRemoval(ref(SECOND))).toBe('removed');
    // When the manifest was gone too.
    await mkdir(removing(THIRD));
    expect(await finishRemoval(ref(THIRD))).toBe('removed');
    expect(await finishRemoval(ref(THIRD))).toBe('absent');
    expect(await readdir(path.join(target, 'srv'))).toEqual([]);
  });

  it('leaves alone what no manifest proves to be that backup', async () => {
    await mkdir(path.join(removing(FIRST), 'data', 'precious'), { recursive: true });
    await makeBackup(ref(SECOND));
    await rename(backupDirectory(ref(SECOND)), removing(SECOND));
    await writeFile(path.join(removing(SECOND), 'manifest.json'), JSON.stringify(manifestFor(ref(THIRD))));
    const elsewhere = path.join(target, 'elsewhere');
    await mkdir(elsewhere);
    await symlink(elsewhere, removing(THIRD));
    for (const id of [FIRST, SECOND, THIRD])
      await expect(finishRemoval(ref(id))).rejects.toMatchObject({ code: 'cleanupIncomplete' });
    expect(await readdir(path.join(removing(FIRST), 'data'))).toEqual(['precious']);
    expect(await readdir(removing(SECOND))).toEqual(['data', 'manifest.json']);
  });

  it('has no engine remove what it finds where a symlink leads that is called data', async () => {
    const elsewhere = path.join(target, 'elsewhere');
    await mkdir(path.join(elsewhere, 'precious'), { recursive: true });
    const removed: string[] = [];
    const engines: EngineFor = () => ({
      ...createTarEngine(),
      remove: async ({ dataDirectory: data }) => void removed.push(data),
    });
    for (const id of [FIRST, SECOND]) {
      await makeBackup(ref(id), { engine: 'btrfs-send' });
      await rm(dataDirectory(ref(id)), { recursive: true });
      await symlink(elsewhere, dataDirectory(ref(id)));
    }
    expect(await listBackups(target)).toMatchObject([
      { backupId: FIRST, state: 'damaged', problem: 'data is not a directory' },
      { backupId: SECOND, state: 'damaged' },
    ]);
    await expect(removeBackup(ref(FIRST), journal, engines)).rejects.toMatchObject({ code: 'failed' });
    await rename(backupDirectory(ref(SECOND)), removing(SECOND));
    const cleanup = { code: 'cleanupIncomplete' };
    await expect(finishRemoval(ref(SECOND), engines)).rejects.toMatchObject(cleanup);
    // One that has no manifest yet: what a dead run left.
    await rm(path.join(backupDirectory(ref(FIRST)), 'manifest.json'));
    await expect(discardIncomplete(ref(FIRST), 'btrfs-send', engines)).rejects.toMatchObject(cleanup);
    expect(removed).toEqual([]);
    expect(await readdir(elsewhere)).toEqual(['precious']);
  });
});

describe('the rules applied', () => {
  const now = new Date('2026-11-24T12:00:00Z');
  const signal = new AbortController().signal;

  it('remove what they do not keep, and end a removal that was cut short', async () => {
    for (const id of [FIRST, SECOND, THIRD]) await makeBackup(ref(id));
    const old = '20261101T010000Z-dddddd';
    await makeBackup(ref(old));
    await rename(backupDirectory(ref(old)), removing(old));
    await makeUnfinished(ref('20261118T010000Z-eeeeee'));
    const request = {
      target: { path: target },
      job: 'srv',
      rules: { last: 1 },
      now,
      verifications: verificationsFrom([]),
    };
    const result = await applyRetention(request, { journal, signal });
    expect(result.removed).toEqual([old, FIRST, SECOND]);
    expect(result.failed).toEqual([]);
    expect(await readdir(path.join(target, 'srv'))).toEqual(['20261118T010000Z-eeeeee', THIRD]);
  });

  it('do not count a backup that lacks files, or failed its verify, as the last good one', async () => {
    const verified = (backupId: string, outcome: VerifyRecord['outcome']): VerifyRecord => {
      const finishedAt = '2026-11-22T01:00:00.000Z';
      return { version: 1, target, job: 'srv', backupId, mode: 'full', outcome, finishedAt };
    };
    await makeBackup(ref(FIRST));
    await makeBackup(ref(SECOND));
    await makeBackup(ref(THIRD), { unreadable: ['/srv/x'] });
    const request = { target: { path: target }, job: 'srv', rules: { last: 1 }, now };
    const result = await applyRetention(
      {
        ...request,
        verifications: verificationsFrom([verified(SECOND, 'failed'), verified(FIRST, 'ok')]),
      },
      { journal, signal },
    );
    expect(result.removed).toEqual([SECOND]);
    expect(await idsLeft()).toEqual([FIRST, THIRD]);
  });

  it('keep the last that can be restored when what increments need is bad, and say so', async () => {
    const [increment, last] = ['20261120T110000Z-dddddd', '20261120T120000Z-eeeeee'];
    const manifests = { [FIRST]: [], [SECOND]: [], [increment]: [SECOND], [last]: [increment] };
    for (const [id, needs] of Object.entries(manifests))
      await makeBackup(ref(id), { engine: 'image', ...(needs.length === 0 ? {} : { needs }) });
    const [finishedAt, mode, outcome] = ['2026-11-20T11:30:00.000Z', 'full', 'failed'] as const;
    const bad: VerifyRecord = { version: 1, ...ref(SECOND), mode, outcome, finishedAt };
    const proven: VerifyRecord = { ...bad, backupId: FIRST, outcome: 'ok' };
    const request = { target: { path: target }, job: 'srv', rules: { last: 1 }, now };
    const result = await judgeRetention({ ...request, verifications: verificationsFrom([bad, proven]) });
    const [first, second, , fourth] = renderPrune([result], true).split('\n').slice(1);
    expect(first).toMatch(/keep .*the last good one$/);
    expect(second).toMatch(/needs it; not good: it failed its full verify of 2026-11-20$/);
    expect(fourth).toMatch(
      new RegExp(`the newest; not good: it needs ${SECOND}, which failed its full verify`),
    );
    expect(pruneReport(result).backups.map(({ flaw }) => flaw)).toEqual([
      null,
      'it failed its full verify of 2026-11-20',
      `it needs ${SECOND}, which failed its full verify of 2026-11-20`,
      `it needs ${SECOND}, which failed its full verify of 2026-11-20`,
    ]);
    // What was made of files that both have is no proof of either, until it is looked at.
    const doubtful = await judgeRetention({ ...request, verifications: verificationsFrom([bad]) });
    expect(doubtful.verdicts[0]?.flaw).toMatch(new RegExp(`may share what is bad: the backup ${SECOND}`));
  });

  it('go on past a backup that cannot be removed, and name it', async () => {
    for (const id of [FIRST, SECOND, THIRD]) await makeBackup(ref(id));
    // In the way of the first one's removal.
    await mkdir(path.join(removing(FIRST), 'data'), { recursive: true });
    const request = {
      target: { path: target },
      job: 'srv',
      rules: { last: 1 },
      now,
      verifications: verificationsFrom([]),
    };
    const result = await applyRetention(request, { journal, signal });
    expect(result.removed).toEqual([SECOND]);
    expect(result.failed.map(({ backupId }) => backupId)).toEqual([FIRST, FIRST]);
    expect(await idsLeft()).toEqual([FIRST, THIRD]);
  });
});
