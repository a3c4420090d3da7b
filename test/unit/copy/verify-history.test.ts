import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  readVerifications,
  recordVerification,
  verificationsFrom,
  type VerifyRecord,
} from '../../../src/copy/verify/verify-history.js';

const backup = { target: '/backup', job: 'srv', backupId: '20261120T010000Z-aaaaaa' };
let minute = 0;

function made(
  mode: VerifyRecord['mode'],
  outcome: VerifyRecord['outcome'],
  changes: Partial<VerifyRecord> = {},
): VerifyRecord {
  minute += 1;
  const finishedAt = new Date(Date.UTC(2026, 10, 24, 1, minute)).toISOString();
  return { version: 1, ...backup, mode, outcome, finishedAt, ...changes };
}

/** What counts after these: `full failed`. */
function counts(...said: string[]): string | undefined {
  const records = said.map((one) => {
    const [mode, outcome] = one.split(' ');
    return made(mode as VerifyRecord['mode'], outcome as VerifyRecord['outcome']);
  });
  const found = verificationsFrom(records).of(backup);
  return found === undefined ? undefined : `${found.mode} ${found.outcome}`;
}

describe('what counts of a backup', () => {
  it('is the last that was found, where nothing was wrong', () => {
    expect(counts()).toBeUndefined();
    expect(counts('full ok', 'quick ok')).toBe('quick ok');
    expect(counts('quick ok', 'drill ok', 'full unproven')).toBe('full unproven');
  });

  it.each([
    [['full failed', 'quick ok'], 'full failed'],
    [['full failed', 'drill ok'], 'full failed'],
    [['full failed', 'quick failed', 'quick ok'], 'full failed'],
    [['full failed', 'full ok'], 'full ok'],
    [['full failed', 'full unproven'], 'full unproven'],
    [['full failed', 'full ok', 'quick ok'], 'quick ok'],
    [['full ok', 'full failed'], 'full failed'],
    [['full failed', 'full ok', 'full failed', 'quick ok'], 'full failed'],
    [['quick failed', 'quick ok'], 'quick ok'],
    [['quick failed', 'full ok'], 'full ok'],
    [['quick failed', 'drill ok'], 'quick failed'],
    [['drill failed', 'full ok'], 'drill failed'],
    [['drill failed', 'quick ok'], 'drill failed'],
    [['drill failed', 'drill ok'], 'drill ok'],
    [['full failed', 'drill failed', 'full ok'], 'drill failed'],
    [['full failed', 'drill failed', 'drill ok'], 'full failed'],
  ])('after %j is %s: a failure is cleared only by what looks at no less', (said, expected) => {
    expect(counts(...said)).toBe(expected);
  });

  it('is of that backup, in that target', () => {
    const history = verificationsFrom([made('full', 'failed', { target: '/other' }), made('full', 'ok')]);
    expect(history.of(backup)?.outcome).toBe('ok');
    expect(history.of({ ...backup, target: '/other' })?.outcome).toBe('failed');
    expect(history.of({ ...backup, job: 'web' })).toBeUndefined();
    expect(history.failures({ path: '/backup' }, 'srv')).toEqual([]);
    expect(history.failures({ path: '/other' }, 'srv')).toHaveLength(1);
  });
});

describe('a target that has several names', () => {
  const disk = { target: '/mnt/disk', place: 'uuid:1:/backup' };
  const link = { target: '/backup', place: 'uuid:1:/backup' };
  /** What counts of the backup in /backup, which is that place or another. */
  const found = (records: VerifyRecord[], place = 'uuid:1:/backup'): VerifyRecord | undefined =>
    verificationsFrom(records, new Map([['/backup', place]])).of(backup);

  it('has what was found by any of them', () => {
    const records = [made('full', 'failed', disk), made('quick', 'ok', link)];
    expect(found(records)).toMatchObject({ outcome: 'failed', target: '/mnt/disk' });
    const history = verificationsFrom(records, new Map([['/backup', 'uuid:1:/backup']]));
    expect(history.failures({ path: '/backup' }, 'srv')).toEqual([records[0]]);
    expect(history.failures({ path: '/elsewhere' }, 'srv')).toEqual([]);
    expect(found([...records, made('full', 'ok', link)])?.outcome).toBe('ok');
  });

  it('keeps its failures when its disk is replaced by a copy, or was verified before places were recorded', () => {
    expect(found([made('full', 'failed', link)], 'uuid:2:/backup')?.outcome).toBe('failed');
    expect(found([made('full', 'failed')])?.outcome).toBe('failed');
    const other = { target: '/backup', place: 'uuid:2:/backup' };
    expect(found([made('full', 'failed', link), made('full', 'ok', other)])?.outcome).toBe('ok');
  });

  it('is not cleared by the copy of the same run in another', () => {
    const copy = { target: '/other', place: 'uuid:2:/backup' };
    expect(found([made('full', 'failed', disk), made('full', 'ok', copy)])?.outcome).toBe('failed');
    expect(found([made('full', 'failed', copy), made('full', 'ok', disk)])?.outcome).toBe('ok');
  });
});

describe('the file', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(path.join(os.tmpdir(), 'verified-'));
  });
  afterEach(async () => {
    await rm(directory, { recursive: true });
  });

  it('forgets no failure that stands, however much else is verified', async () => {
    await recordVerification(made('full', 'failed'), directory);
    const cleared = '20261121T010000Z-bbbbbb';
    await recordVerification(made('full', 'failed', { backupId: cleared }), directory);
    await recordVerification(made('full', 'ok', { backupId: cleared }), directory);
    for (let count = 0; count < 40; count += 1) {
      const other = { backupId: `20261122T01${String(count).padStart(2, '0')}00Z-cccccc` };
      await recordVerification(made('full', 'ok', other), directory, 1000);
    }
    const history = await readVerifications(['srv'], [], directory);
    expect(history.of(backup)?.outcome).toBe('failed');
    expect(history.failures({ path: '/backup' }, 'srv')).toHaveLength(1);
    expect(history.of({ ...backup, backupId: cleared })).toBeUndefined();
    expect((await readFile(path.join(directory, 'srv.jsonl.1'), 'utf8')).length).toBeLessThan(3000);
  });

  it('loses nothing of what stands behind a line that was torn', async () => {
    await recordVerification(made('full', 'ok'), directory);
    await appendFile(path.join(directory, 'srv.jsonl'), '{"version":1,"target":"/backup","job":"sr');
    await recordVerification(made('full', 'failed'), directory);
    expect((await readVerifications(['srv'], [], directory)).of(backup)?.outcome).toBe('failed');
    expect(await readFile(path.join(directory, 'srv.jsonl'), 'utf8')).toMatch(/"sr\n\{/);
    // As versions did that did not look for it.
    const together = `{"version":1,"target":"/back${JSON.stringify(made('full', 'ok'))}\n`;
    await appendFile(path.join(directory, 'srv.jsonl'), together);
    expect((await readVerifications(['srv'], [], directory)).of(backup)?.outcome).toBe('ok');
  });
});
