import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CompleteBackup } from '../../../src/copy/backup/backup-list.js';
import { createBackupWriter } from '../../../src/copy/backup/backup-writer.js';
import { doubtOf } from '../../../src/copy/verify/doubtful-backups.js';
import type { EngineName } from '../../../src/engine-names.js';
import {
  recordVerification,
  verificationsFrom,
  type VerifyRecord,
} from '../../../src/copy/verify/verify-history.js';
import { makeBackup, manifestFor } from '../../support/backups.js';

const [OLD, MIDDLE, NEW] = ['20261120T010000Z-aaaa', '20261121T010000Z-bbbb', '20261122T010000Z-cccc'];

function verified(backupId: string, outcome: 'ok' | 'failed', at: string): VerifyRecord {
  return {
    version: 1,
    target: '/b',
    job: 'srv',
    backupId,
    mode: 'full',
    outcome,
    finishedAt: `${at}:00.000Z`,
  };
}

/** The id of the backup whose failure makes this one doubtful. */
function doubted(
  backupId: string,
  records: VerifyRecord[],
  engine: EngineName = 'rsync',
  needs: string[] = [],
) {
  const ref = { target: '/b', job: 'srv', backupId };
  const backup: CompleteBackup = { ...ref, state: 'complete', manifest: manifestFor(ref, { engine }) };
  return doubtOf(backup, needs, verificationsFrom(records))?.backupId;
}

describe.each(['rsync', 'image', 'btrfs-send', 'zfs-send'] as const)('with %s, after a failure', (engine) => {
  const failed = verified(MIDDLE, 'failed', '2026-11-21T12:00');

  it('doubtful are the one that failed, and what was begun before it was seen, older ones too', () => {
    expect(doubted(MIDDLE, [failed], engine)).toBe(MIDDLE);
    expect(doubted(OLD, [failed], engine)).toBe(MIDDLE);
    expect(doubted(NEW, [verified(MIDDLE, 'failed', '2026-11-22T12:00')], engine)).toBe(MIDDLE);
  });

  it('what was begun after it is not, unless it needs the one that failed', () => {
    expect(doubted(NEW, [failed], engine)).toBeUndefined();
    expect(doubted(NEW, [failed], engine, [MIDDLE])).toBe(MIDDLE);
  });

  it('a full verify that came later proves one, and one that came before does not', () => {
    const proof = verified(OLD, 'ok', '2026-11-21T13:00');
    expect(doubted(OLD, [failed, proof], engine)).toBeUndefined();
    expect(doubted(OLD, [proof, failed], engine)).toBe(MIDDLE);
    expect(doubted(OLD, [failed, { ...proof, mode: 'quick' }], engine)).toBe(MIDDLE);
    expect(doubted(OLD, [failed, { ...proof, backupId: NEW }], engine)).toBe(MIDDLE);
    expect(doubted(OLD, [failed, { ...proof, backupId: MIDDLE }], engine)).toBeUndefined();
  });

  it('in another target or of another job says nothing', () => {
    expect(doubted(OLD, [{ ...failed, target: '/c' }], engine)).toBeUndefined();
    expect(doubted(OLD, [{ ...failed, job: 'web' }], engine)).toBeUndefined();
  });
});

describe.each(['restic', 'borg'] as const)('in a repository of %s', (engine) => {
  const failed = verified(MIDDLE, 'failed', '2026-11-21T12:00');

  it('what was begun later shares what is bad too, until one no older than that is proven', () => {
    expect(doubted(NEW, [failed], engine)).toBe(MIDDLE);
    expect(doubted(NEW, [failed, verified(OLD, 'ok', '2026-11-23T12:00')], engine)).toBe(MIDDLE);
    expect(doubted(NEW, [failed, verified(NEW, 'ok', '2026-11-23T12:00')], engine)).toBeUndefined();
    expect(
      doubted('20261124T010000Z-dddd', [failed, verified(NEW, 'ok', '2026-11-23T12:00')], engine),
    ).toBeUndefined();
  });
});

it.each(['tar', 'command'] as const)('%s shares nothing', (engine) => {
  expect(doubted(OLD, [verified(OLD, 'failed', '2026-11-21T12:00')], engine)).toBeUndefined();
});

it('asks a history of years about many backups without looking through all of it for each', () => {
  const ids = Array.from({ length: 5000 }, (_, hour) => {
    const at = new Date(Date.UTC(2026, 0, 1, hour)).toISOString();
    return `${at.slice(0, 19).replaceAll(/[-:]/g, '')}Z-aaaa`;
  });
  const records = Array.from({ length: 20_000 }, (_, index): VerifyRecord => {
    const [mode, outcome] = index < 365 ? (['drill', 'failed'] as const) : (['full', 'ok'] as const);
    const record = verified(ids[index % 4500] ?? '', outcome, '2026-01-01T00:00');
    return { ...record, mode };
  });
  const history = verificationsFrom(records);
  const isDoubtful = (backupId: string, engine: EngineName): boolean => {
    const ref = { target: '/b', job: 'srv', backupId };
    const backup: CompleteBackup = { ...ref, state: 'complete', manifest: manifestFor(ref, { engine }) };
    return doubtOf(backup, [], history) !== undefined;
  };
  // A full verify clears no drill, and proves what may be shared.
  expect(ids.filter((id) => isDoubtful(id, 'rsync'))).toEqual([]);
  expect(ids.filter((id) => isDoubtful(id, 'restic'))).toEqual([]);
  expect(
    ids.filter((id) => history.of({ target: '/b', job: 'srv', backupId: id })?.outcome === 'failed'),
  ).toHaveLength(365);
});

describe('the writer of a run', () => {
  let target: string;
  beforeEach(async () => {
    target = await mkdtemp(path.join(os.tmpdir(), 'doubtful-'));
  });
  afterEach(async () => {
    await rm(target, { recursive: true });
  });

  it('tells why the last backup is doubtful: what failed, what is missing, what cannot be read', async () => {
    const historyDirectory = path.join(target, 'verified');
    const writer = createBackupWriter({ historyDirectory });
    const doubt = (backupId: string, engine: EngineName) =>
      writer.doubt({ target: { path: target, engine, mustBeMountpoint: false }, job: 'srv', backupId });
    await makeBackup({ target, job: 'srv', backupId: OLD }, { engine: 'image' });
    await makeBackup({ target, job: 'srv', backupId: MIDDLE }, { engine: 'image', needs: [OLD] });
    await makeBackup({ target, job: 'srv', backupId: NEW }, { engine: 'image', needs: [MIDDLE] });
    expect(await doubt(NEW, 'image')).toBeUndefined();
    await recordVerification({ ...verified(OLD, 'failed', '2026-11-20T12:00'), target }, historyDirectory);
    expect(await doubt(NEW, 'image')).toBe(`the backup ${OLD} failed its full verify of 2026-11-20`);
    await recordVerification({ ...verified(OLD, 'ok', '2026-11-20T13:00'), target }, historyDirectory);
    expect(await doubt(NEW, 'image')).toBeUndefined();
    await rm(path.join(target, 'srv', OLD), { recursive: true });
    expect(await doubt(NEW, 'image')).toMatch(new RegExp(`${NEW}.*${OLD}, which is not there`));
    await rm(path.join(historyDirectory, 'srv.jsonl'));
    await mkdir(path.join(historyDirectory, 'srv.jsonl'));
    expect(await doubt(NEW, 'image')).toMatch(/cannot be read: EISDIR/);
  });
});
