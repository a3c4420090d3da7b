import { closeSync, constants, existsSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import {
  findRecord,
  writeRecord,
  writeStatus,
  type FreezeRecordBody,
  type FreezeStatus,
} from '../../../src/freeze/freeze-record.js';
import * as page from '../../../src/freeze/guards-page.js';
import * as guards from '../../../src/freeze/kill-guards.js';
import * as mountpoints from '../../../src/freeze/mountpoint.js';
import { lossNumber, SlotState } from '../../../src/freeze/protocol.js';
import { thawWithoutGuards } from '../../../src/freeze/thaw-without-guards.js';
import * as withinModule from '../../../src/freeze/within.js';
import * as native from '../../../src/system/native.js';
import { freezeBody, putOnRecord } from '../../support/on-record.js';
import { timesOpen } from '../../support/times-open.js';

// Other tests of this process have loaded what is mocked here. Nothing is frozen, and no guard is there.
vi.hoisted(() => vi.resetModules());
vi.mock('../../../src/freeze/guards-page.js', { spy: true });
vi.mock('../../../src/freeze/kill-guards.js', { spy: true });
vi.mock('../../../src/freeze/mountpoint.js', { spy: true });
vi.mock('../../../src/freeze/within.js', { spy: true });
vi.mock('../../../src/system/native.js', { spy: true });

const UPPER = '0:999998';
const LOWER = '0:999999';
const LOST = { kind: 'lost', reason: 'timeout', at: '2026-01-02T03:04:05.000Z' } as const;
const GUARD_DIED = { kind: 'lost', reason: 'guard-died' };

let directory: string;
let control: string;
let upper: FreezeRecordBody;
/** By what is thawed: what its FITHAW rejects with. */
let failures: Map<string, Error>;
let thawed: string[];
/** The guards' copies of the records' descriptors, by device number. */
let fds: Map<string, number>;

beforeEach(async () => {
  directory = mkdtempSync(path.join(os.tmpdir(), 'without-'));
  vi.stubEnv('FSBACKUP_RUN_DIR', path.join(directory, 'run'));
  control = path.join(directory, 'control');
  writeFileSync(control, '');
  failures = new Map();
  thawed = [];
  fds = new Map();
  const opened = new Map<number, string>();
  vi.mocked(mountpoints.openFilesystem).mockImplementation(async ({ majorMinor }) => {
    const fd = openSync(path.join(directory, majorMinor), constants.O_RDWR | constants.O_CREAT);
    opened.set(fd, majorMinor);
    return fd;
  });
  vi.mocked(native.thawInBackground).mockImplementation(async (fd) => {
    const majorMinor = opened.get(fd) ?? '';
    thawed.push(majorMinor);
    const failure = failures.get(majorMinor);
    if (failure !== undefined) throw failure;
  });
  vi.mocked(page.readGuardsPage).mockReturnValue({ state: SlotState.held, loss: 0, deadlineMs: 0 });
  vi.mocked(guards.killGuards).mockReturnValue();
  vi.mocked(guards.endSecond).mockImplementation(async () => {
    die();
    return true;
  });
  upper = await held(UPPER, 0);
  await held(LOWER, 1);
});
afterEach(() => {
  vi.resetAllMocks();
  die();
  vi.unstubAllEnvs();
  rmSync(directory, { recursive: true });
});

async function held(majorMinor: string, slot: number): Promise<FreezeRecordBody> {
  const body = freezeBody({ majorMinor, slot, controlPath: control, watchdogPids: [11, 12] });
  fds.set(majorMinor, await putOnRecord(body));
  return body;
}

function die(): void {
  for (const fd of fds.values()) closeSync(fd);
  fds.clear();
}

/** What the guards write down of one. */
function note(majorMinor: string, status: FreezeStatus): void {
  writeStatus(fds.get(majorMinor) ?? -1, status);
}

const asking = (...numbers: string[]): Set<string> => new Set(numbers);
const statuses = (): unknown[] =>
  [UPPER, LOWER].map((majorMinor) => findRecord({ majorMinor, fstype: upper.fstype })?.status);
const noEntry = Object.assign(new Error('not frozen'), { code: 'EINVAL' });

it('thaws what is asked for, and what else the guards hold, the last first: that is lost', async () => {
  expect(await thawWithoutGuards(upper, asking(UPPER))).toBeUndefined();
  expect(thawed).toEqual([LOWER, UPPER]);
  expect(guards.killGuards).toHaveBeenCalledWith([11]);
  expect(guards.endSecond).toHaveBeenCalledWith(12);
  expect(statuses()).toMatchObject([{ kind: 'thawed' }, GUARD_DIED]);
  expect(existsSync(control)).toBe(false);
  await expect
    .poll(() => [UPPER, LOWER].map((name) => timesOpen(path.join(directory, name))))
    .toEqual([0, 0]);
});

it('thaws once more where the second did not end by itself: it may have been in the middle of a probe', async () => {
  vi.mocked(guards.endSecond).mockImplementation(async () => {
    die();
    return false;
  });
  expect(await thawWithoutGuards(upper, asking(UPPER, LOWER))).toBeUndefined();
  expect(thawed).toEqual([LOWER, UPPER, LOWER, UPPER]);
  expect(statuses()).toEqual([{ kind: 'thawed' }, { kind: 'thawed' }]);
});

it('leaves the guards alone where one cannot be thawed, whichever that is', async () => {
  failures.set(UPPER, new Error('EIO'));
  await expect(thawWithoutGuards(upper, asking(UPPER))).rejects.toMatchObject({
    code: 'thawFailed',
    message: '/srv may still be frozen: EIO',
  });
  failures = new Map([[LOWER, new Error('EIO')]]);
  expect(await thawWithoutGuards(upper, asking(UPPER))).toBeUndefined();
  vi.mocked(mountpoints.openFilesystem).mockResolvedValue(undefined);
  await expect(thawWithoutGuards(upper, asking(UPPER))).rejects.toMatchObject({ code: 'thawFailed' });
  expect(guards.killGuards).not.toHaveBeenCalled();
  expect(guards.endSecond).not.toHaveBeenCalled();
  expect(statuses()).toEqual([{ kind: 'armed' }, { kind: 'armed' }]);
});

it('waits no longer than it has to for a thaw that waits itself, and leaves it open until then', async () => {
  let end: () => void = () => undefined;
  vi.mocked(native.thawInBackground).mockReturnValueOnce(new Promise((resolve) => (end = resolve)));
  vi.mocked(withinModule.within).mockResolvedValueOnce(false);
  await expect(thawWithoutGuards({ ...upper, majorMinor: LOWER }, asking(LOWER))).rejects.toMatchObject({
    code: 'thawFailed',
    message: '/srv may still be frozen: FITHAW waits for what it lies on',
  });
  expect(timesOpen(path.join(directory, LOWER))).toBe(1);
  end();
  await expect.poll(() => timesOpen(path.join(directory, LOWER))).toBe(0);
});

it('tells as lost what was not frozen any more, and what may not have been', async () => {
  failures.set(UPPER, noEntry);
  expect(await thawWithoutGuards(upper, asking(UPPER, LOWER))).toBe('guard-died');
  expect(statuses()).toMatchObject([GUARD_DIED, { kind: 'thawed' }]);
});

it('tells as lost what a guard knew to be, though something was thawed', async () => {
  vi.mocked(page.readGuardsPage).mockImplementation((_, slot) => ({
    state: SlotState.held,
    loss: slot === 0 ? lossNumber('third-party') : 0,
    deadlineMs: 0,
  }));
  expect(await thawWithoutGuards(upper, asking(UPPER, LOWER))).toBe('guard-died');
  expect(statuses()).toMatchObject([GUARD_DIED, { kind: 'thawed' }]);
});

it('takes what the guards write down at their end for our thaw where that was asked for, and else for a loss', async () => {
  vi.mocked(guards.endSecond).mockImplementation(async () => {
    note(UPPER, LOST);
    note(LOWER, LOST);
    die();
    return true;
  });
  expect(await thawWithoutGuards(upper, asking(UPPER))).toBeUndefined();
  expect(statuses()).toEqual([{ kind: 'thawed' }, LOST]);
});

it('leaves alone what has been frozen anew meanwhile', async () => {
  vi.mocked(guards.endSecond).mockImplementation(async () => {
    writeRecord(fds.get(LOWER) ?? -1, freezeBody({ majorMinor: LOWER, controlPath: '/another' }));
    die();
    return true;
  });
  await thawWithoutGuards(upper, asking(UPPER));
  expect(statuses()).toEqual([{ kind: 'thawed' }, { kind: 'armed' }]);
});

it('touches nothing where a guard did at last what it was asked for, and tells how that ended', async () => {
  note(UPPER, { kind: 'thawed' });
  expect(await thawWithoutGuards(upper, asking(UPPER))).toBeUndefined();
  note(UPPER, LOST);
  expect(await thawWithoutGuards(upper, asking(UPPER))).toBe('timeout');
  expect(thawed).toEqual([]);
  expect(existsSync(control)).toBe(true);
});
