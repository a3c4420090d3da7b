import { closeSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { readdir, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { findRecord, writeStatus, type FreezeStatus } from '../../../src/freeze/freeze-record.js';
import { recoverFreezes } from '../../../src/freeze/recover-freezes.js';
import { freezeBody, putOnRecord } from '../../support/on-record.js';

let run: string;
/** A name that leads nowhere: whether anything is left behind it cannot be told. */
let unknown: string;

beforeEach(() => {
  run = mkdtempSync(path.join(os.tmpdir(), 'recover-'));
  vi.stubEnv('FSBACKUP_RUN_DIR', run);
  unknown = path.join(run, 'loop');
  symlinkSync(unknown, unknown);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(run, { recursive: true });
});

async function left(changes: Parameters<typeof freezeBody>[0] = {}, status?: FreezeStatus): Promise<void> {
  closeSync(await putOnRecord(freezeBody(changes), status));
}

it('finds nothing to do where nothing was left frozen', async () => {
  await left({}, { kind: 'thawed' });
  expect(await recoverFreezes()).toEqual({ recovered: [], failures: [] });
});

it('says of what is gone that it is, once, and of what may still be frozen that it may, each time', async () => {
  const other = { majorMinor: '0:999998', mountpoint: '/other', device: unknown };
  await left();
  await left(other);
  const failure = expect.stringContaining('/other may still be frozen') as string;
  const gone = { mountpoint: '/srv', outcome: 'gone' };
  expect(await recoverFreezes()).toEqual({ recovered: [gone], failures: [failure] });
  expect(findRecord(freezeBody())?.status).toEqual({ kind: 'thawed' });
  expect(findRecord(freezeBody(other))?.status).toEqual({ kind: 'armed' });
  expect(await recoverFreezes()).toEqual({ recovered: [], failures: [failure] });
});

it('says which record cannot be read, and goes on with the others', async () => {
  await left();
  mkdirSync(path.join(run, 'superblocks/9:9'));
  const { recovered, failures } = await recoverFreezes();
  expect(recovered).toHaveLength(1);
  expect(failures).toEqual([expect.stringContaining('superblocks/9:9 tells of a freeze cannot be read')]);
});

it('leaves to another what that one is at', async () => {
  const fd = await putOnRecord(freezeBody({ device: unknown }));
  const recovering = recoverFreezes();
  await sleep(40);
  writeStatus(fd, { kind: 'thawed' });
  closeSync(fd);
  expect(await recovering).toEqual({ recovered: [], failures: [] });
});

it('removes the control sockets of dead guards', async () => {
  const control = path.join(run, 'control');
  mkdirSync(control);
  // Above the largest pid that Linux gives.
  await writeFile(path.join(control, '4194305-abc'), '');
  await recoverFreezes();
  expect(await readdir(control)).toEqual([]);
});
