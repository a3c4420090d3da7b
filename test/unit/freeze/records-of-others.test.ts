import { closeSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import {
  adoptRecord,
  findRecord,
  isOfAnotherDisk,
  lockRecord,
  readRecords,
  writeStatus,
} from '../../../src/freeze/freeze-record.js';
import { freezeBody, putOnRecord } from '../../support/on-record.js';
import { findSequencedDisk } from '../../support/sequenced-disk.js';
import { timesOpen } from '../../support/times-open.js';

const BODY = freezeBody();

let run: string;
let record: string;
let fds: number[];

beforeEach(() => {
  run = mkdtempSync(path.join(os.tmpdir(), 'records-'));
  vi.stubEnv('FSBACKUP_RUN_DIR', run);
  record = path.join(run, 'superblocks', BODY.majorMinor);
  fds = [];
});
afterEach(() => {
  for (const fd of fds) closeSync(fd);
  vi.unstubAllEnvs();
  rmSync(run, { recursive: true });
});

it('tell why one cannot be frozen: it is, is about to be, or is held together with others; and nothing stays open', async () => {
  const fd = await putOnRecord(BODY);
  fds.push(fd);
  const refusal = async (): Promise<string> =>
    await lockRecord(BODY).then(
      () => 'locked',
      (error: { code: string; message: string }) => `${error.code}: ${error.message}`,
    );
  expect(await refusal()).toContain('locked: /srv is held frozen already, by an earlier command (pid 1234');
  writeStatus(fd, { kind: 'thawed' });
  expect(await refusal()).toContain(
    'locked: /srv was frozen together with others, which are held still (pid',
  );
  writeFileSync(record, '');
  expect(await refusal()).toBe('locked: /srv is being frozen by another fsbackup');
  expect(timesOpen(record)).toBe(1);
});

it('are told of one by one, where one cannot be read', async () => {
  fds.push(await putOnRecord(BODY));
  const unreadable = path.join(run, 'superblocks/9:9');
  mkdirSync(unreadable);
  const told: string[] = [];
  expect(readRecords((file, error) => told.push(`${file}: ${(error as Error).message}`))).toMatchObject([
    { body: BODY },
  ]);
  expect(told).toEqual([expect.stringMatching(`^${unreadable}: EISDIR`)]);
  expect(readRecords()).toHaveLength(1);
  expect(timesOpen(record)).toBe(1);
});

it('of a version that did not note the disk are taken for those of the one that is there', async () => {
  const majorMinor = findSequencedDisk();
  if (majorMinor === undefined) return;
  expect(isOfAnotherDisk({ majorMinor })).toBe(false);
  expect(isOfAnotherDisk({ majorMinor, diskSequence: '0' })).toBe(true);
  expect(isOfAnotherDisk({ majorMinor: BODY.majorMinor, diskSequence: '0' })).toBe(false);
});

it('are adopted with what is done then, and closed though that fails', async () => {
  closeSync(await putOnRecord(BODY));
  const failure = new Error('EIO');
  await expect(adoptRecord(BODY.majorMinor, () => Promise.reject(failure))).rejects.toBe(failure);
  expect(timesOpen(record)).toBe(0);
  expect(findRecord(BODY)?.guarded).toBe(false);
});
