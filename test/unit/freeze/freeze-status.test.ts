import { closeSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import * as control from '../../../src/freeze/control-client.js';
import { NoReply } from '../../../src/freeze/frame-connection.js';
import type { FreezeRecordBody, FreezeStatus } from '../../../src/freeze/freeze-record.js';
import { readFreezeStatus } from '../../../src/freeze/freeze-status.js';
import { SlotState, type Reply } from '../../../src/freeze/protocol.js';
import { keepUntold } from '../../../src/freeze/untold-losses.js';
import { freezeBody, putOnRecord } from '../../support/on-record.js';

// Other tests of this process have loaded what is mocked here.
vi.hoisted(() => vi.resetModules());
// No guard is there: what it answers is what the test says.
vi.mock('../../../src/freeze/control-client.js', { spy: true });

const LOST = { kind: 'lost', reason: 'timeout', at: '2026-01-02T03:04:05.000Z' } as const;
const NOBODY = { frozen: [], lost: [] };

let run: string;
let fds: number[];

beforeEach(() => {
  run = mkdtempSync(path.join(os.tmpdir(), 'status-'));
  vi.stubEnv('FSBACKUP_RUN_DIR', run);
  fds = [];
});
afterEach(() => {
  vi.resetAllMocks();
  for (const fd of fds) closeSync(fd);
  vi.unstubAllEnvs();
  rmSync(run, { recursive: true });
});

async function guarded(changes: Partial<FreezeRecordBody> = {}, status?: FreezeStatus): Promise<void> {
  fds.push(await putOnRecord(freezeBody({ freezeId: 'abcd1234', ...changes }), status));
}

function answer(state: number, slots = 1): void {
  const reply = {
    nowMs: 1000,
    slots: Array.from({ length: slots }, () => ({ state, deadlineMs: 61_000 })),
  } as Reply;
  vi.mocked(control.askWatchdog).mockResolvedValue(reply);
}

const told = { mountpoint: '/srv', freezeId: 'abcd1234', timeoutSeconds: 10 };

it('tells of what is held until when, by the word of its guards', async () => {
  await guarded();
  answer(SlotState.held);
  const before = Date.now();
  const { frozen, lost } = await readFreezeStatus();
  expect(lost).toEqual([]);
  expect(frozen).toMatchObject([{ ...told, guards: 'alive', state: 'frozen' }]);
  expect(Date.parse(frozen[0]?.expiresAt ?? '') - 60_000).toBeGreaterThanOrEqual(before);
  answer(SlotState.calling);
  expect((await readFreezeStatus()).frozen).toMatchObject([{ state: 'freezing' }]);
});

it.each(['idle', 'thawed', 'failed'] as const)('tells nothing of what its guards call %s', async (state) => {
  await guarded();
  answer(SlotState[state]);
  expect(await readFreezeStatus()).toEqual(NOBODY);
});

it('knows nothing of what its guards do not answer for', async () => {
  await guarded();
  const unknown = [{ ...told, expiresAt: null, guards: 'stopped', state: 'unknown' }];
  vi.mocked(control.askWatchdog).mockRejectedValue(new NoReply(500));
  expect((await readFreezeStatus()).frozen).toMatchObject(unknown);
  vi.mocked(control.askWatchdog).mockResolvedValue(undefined);
  expect((await readFreezeStatus()).frozen).toMatchObject(unknown);
  answer(SlotState.held, 0);
  expect((await readFreezeStatus()).frozen).toMatchObject(unknown);
});

it('says of what nobody guards that its guards are dead, and asks nobody', async () => {
  await guarded();
  for (const fd of fds.splice(0)) closeSync(fd);
  expect((await readFreezeStatus()).frozen).toMatchObject([
    { ...told, expiresAt: null, guards: 'dead', state: 'unknown' },
  ]);
  expect(control.askWatchdog).not.toHaveBeenCalled();
});

it('tells of what was lost, and of what was lost before and told to nobody', async () => {
  await guarded({}, LOST);
  const body = freezeBody({ mountpoint: '/other', majorMinor: '0:999998' });
  keepUntold({ body, status: { ...LOST, reason: 'max-hold' }, guarded: false });
  await guarded({ mountpoint: '/thawed', majorMinor: '0:999997' }, { kind: 'thawed' });
  expect(await readFreezeStatus()).toEqual({
    frozen: [],
    lost: [
      {
        mountpoint: '/other',
        device: '/dev/vdz',
        fstype: 'ext4',
        freezeId: null,
        reason: 'max-hold',
        at: LOST.at,
      },
      {
        mountpoint: '/srv',
        device: '/dev/vdz',
        fstype: 'ext4',
        freezeId: 'abcd1234',
        reason: 'timeout',
        at: LOST.at,
      },
    ],
  });
  expect(control.askWatchdog).not.toHaveBeenCalled();
});
