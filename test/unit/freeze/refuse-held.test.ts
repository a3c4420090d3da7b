import { closeSync, constants, mkdtempSync, openSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { refuseHeld } from '../../../src/freeze/refuse-held.js';
import { tryLock } from '../../../src/system/native.js';
import { freezeBody, putOnRecord } from '../../support/on-record.js';
import { timesOpen } from '../../support/times-open.js';

const body = freezeBody();
let record: string;
let run: string;

beforeEach(() => {
  run = mkdtempSync(path.join(os.tmpdir(), 'held-'));
  vi.stubEnv('FSBACKUP_RUN_DIR', run);
  record = path.join(run, 'superblocks', body.majorMinor);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(run, { recursive: true });
});

it('refuses what somebody holds, and nothing else', async () => {
  await refuseHeld(body);
  const fd = await putOnRecord(body);
  await expect(refuseHeld(body)).rejects.toMatchObject({ code: 'locked' });
  closeSync(fd);
  await refuseHeld(body);
});

it('waits for who only reads its record, and leaves it free', async () => {
  closeSync(await putOnRecord(body));
  const reader = openSync(record, constants.O_RDWR);
  expect(tryLock(reader)).toBe(true);
  const asking = refuseHeld(body);
  setTimeout(() => closeSync(reader), 20);
  await asking;
  expect(timesOpen(record)).toBe(0);
});
