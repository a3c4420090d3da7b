import { closeSync, constants, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import {
  adoptRecord,
  findRecord,
  lockRecord,
  readBootId,
  readRecords,
  readStatus,
  writeRecord,
  writeStatus,
  type FreezeRecordBody,
} from '../../../src/freeze/freeze-record.js';
import { tryLock } from '../../../src/system/native.js';
import { watchOpenFiles } from '../../support/open-files.js';
import { findSequencedDisk } from '../../support/sequenced-disk.js';

/** A number that no device has. */
const TARGET = { mountpoint: '/srv', majorMinor: '0:999999', device: '/dev/vdz', fstype: 'ext4' };
const LOST = { kind: 'lost', reason: 'timeout', at: '2026-01-02T03:04:05.000Z' } as const;

let run: string;
let fds: number[];

beforeEach(() => {
  run = mkdtempSync(path.join(os.tmpdir(), 'run-'));
  vi.stubEnv('FSBACKUP_RUN_DIR', run);
  fds = [];
});
afterEach(() => {
  for (const fd of fds) closeSync(fd);
  vi.unstubAllEnvs();
  rmSync(run, { recursive: true });
});

function body(changes: Partial<FreezeRecordBody> = {}): FreezeRecordBody {
  return {
    version: 1,
    ...TARGET,
    bootId: readBootId(),
    since: '2026-01-02T03:04:00.000Z',
    timeoutSeconds: 10,
    maxHoldSeconds: 60,
    slot: 0,
    controlPath: '/run/x',
    detached: false,
    owner: { pid: 1234, command: 'fsbackup run' },
    watchdogPids: [1, 2],
    ...changes,
  };
}

async function locked(majorMinor = TARGET.majorMinor): Promise<number> {
  const fd = await lockRecord({ ...TARGET, majorMinor });
  fds.push(fd);
  return fd;
}

function unlock(): void {
  for (const fd of fds.splice(0)) closeSync(fd);
}

/** The record's file, opened by another than who has its lock. */
function opened(): number {
  const fd = openSync(path.join(run, 'superblocks', TARGET.majorMinor), constants.O_RDWR);
  fds.push(fd);
  return fd;
}

it('is found while it is guarded, and after, with its status as it was last written', async () => {
  const fd = await locked();
  writeRecord(fd, body());
  expect(findRecord(TARGET)).toEqual({ body: body(), status: { kind: 'armed' }, guarded: true });
  writeStatus(fd, LOST);
  expect(readStatus(fd)).toEqual(LOST);
  unlock();
  expect(readRecords()).toEqual([{ body: body(), status: LOST, guarded: false }]);
  expect(findRecord({ ...TARGET, fstype: 'xfs' })).toBeUndefined();
});

it('is all of the later freeze, which takes fewer words', async () => {
  const fd = await locked();
  writeRecord(fd, body({ owner: { pid: 1, command: 'x'.repeat(1000) } }));
  writeStatus(fd, { kind: 'thawed' });
  writeRecord(fd, body());
  expect(findRecord(TARGET)).toEqual({ body: body(), status: { kind: 'armed' }, guarded: true });
});

it('is none where nothing was frozen, of another boot, cut short, or empty', async () => {
  expect(readRecords()).toEqual([]);
  const fd = await locked();
  expect(readRecords()).toEqual([]);
  expect(readStatus(fd)).toBeUndefined();
  writeRecord(fd, body({ bootId: 'another' }));
  expect(readRecords()).toEqual([]);
  writeRecord(fd, body());
  const file = path.join(run, 'superblocks', TARGET.majorMinor);
  const whole = readFileSync(file, 'utf8');
  writeFileSync(file, whole.slice(0, -10));
  expect(readRecords()).toEqual([]);
  writeFileSync(file, `what is this${whole.slice(12)}`);
  expect(readRecords()).toEqual([]);
  expect(await adoptRecord(TARGET.majorMinor, async () => 'adopted')).toBeUndefined();
});

it('cannot be read where somebody put a file in the place of its directory', () => {
  writeFileSync(path.join(run, 'superblocks'), '');
  expect(() => readRecords()).toThrow(expect.objectContaining({ code: 'ENOTDIR' }));
});

it('of a loss is of the disk that the device held then', async () => {
  const majorMinor = findSequencedDisk();
  if (majorMinor === undefined) return;
  const diskSequence = readFileSync(`/sys/dev/block/${majorMinor}/diskseq`, 'utf8').trim();
  const fd = await locked(majorMinor);
  writeRecord(fd, body({ majorMinor }));
  writeStatus(fd, LOST);
  expect(readRecords()).toMatchObject([{ body: { majorMinor, diskSequence }, status: LOST }]);
  const file = path.join(run, 'superblocks', majorMinor);
  writeFileSync(file, readFileSync(file, 'utf8').replace(`"${diskSequence}"`, '"0"'));
  expect(readRecords()).toEqual([]);
  // Who may still be frozen is on record whatever the device holds.
  writeStatus(fd, { kind: 'armed' });
  expect(readRecords()).toHaveLength(1);
});

it('that is only read is waited for; one that is held is refused, with who holds it, and nothing is left open', async () => {
  const fd = await locked();
  writeRecord(fd, body());
  unlock();
  const reader = opened();
  expect(tryLock(reader)).toBe(true);
  const waiting = locked();
  setTimeout(unlock, 30);
  await waiting;
  const allClosed = watchOpenFiles();
  await expect(lockRecord(TARGET)).rejects.toMatchObject({
    code: 'locked',
    message: '/srv is being frozen by another fsbackup (pid 1234: fsbackup run)',
  });
  writeRecord(fds[0] ?? -1, body({ detached: true }));
  await expect(lockRecord(TARGET)).rejects.toMatchObject({
    code: 'locked',
    message: '/srv is held frozen already, by an earlier command (pid 1234: fsbackup run)',
  });
  await allClosed();
});

it('is adopted by one at a time, and by nobody while it is guarded', async () => {
  const fd = await locked();
  writeRecord(fd, body());
  expect(await adoptRecord(TARGET.majorMinor, async () => 'adopted')).toBeUndefined();
  unlock();
  const allClosed = watchOpenFiles();
  const adopted = await adoptRecord(TARGET.majorMinor, async (record, setStatus) => {
    expect(record).toEqual({ body: body(), status: { kind: 'armed' }, guarded: false });
    expect(findRecord(TARGET)?.guarded).toBe(true);
    setStatus({ kind: 'thawed' });
    return 'adopted';
  });
  expect(adopted).toBe('adopted');
  await allClosed();
  expect(findRecord(TARGET)).toMatchObject({ status: { kind: 'thawed' }, guarded: false });
});

it('that cannot be written is told, with where there is no room', () => {
  const fd = openSync('/dev/full', constants.O_RDWR);
  fds.push(fd);
  expect(() => writeRecord(fd, body())).toThrow(
    expect.objectContaining({
      code: 'failed',
      message: expect.stringMatching(/^the freeze of \/srv cannot be put on record: /) as string,
      hint: expect.stringContaining(path.join(run, 'superblocks')) as string,
    }),
  );
});
