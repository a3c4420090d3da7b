import { closeSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { findHeld, noteTold } from '../../../src/freeze/find-held.js';
import { findRecord, type FreezeRecordBody, type FreezeStatus } from '../../../src/freeze/freeze-record.js';
import { openMount } from '../../../src/freeze/mountpoint.js';
import { findUntold, keepUntold } from '../../../src/freeze/untold-losses.js';
import { freezeBody, putOnRecord } from '../../support/on-record.js';
import { timesOpen } from '../../support/times-open.js';

const LOST = { kind: 'lost', reason: 'timeout', at: '2026-01-02T03:04:05.000Z' } as const;
const THAWED = { kind: 'thawed' } as const;

let directory: string;
/** The filesystem that the directory is on, as a record names it. Nothing is frozen here: records alone are read. */
let here: Pick<FreezeRecordBody, 'majorMinor' | 'fstype'>;
let guards: number[];

beforeEach(async () => {
  directory = mkdtempSync(path.join(os.tmpdir(), 'held-'));
  vi.stubEnv('FSBACKUP_RUN_DIR', path.join(directory, 'run'));
  mkdirSync(path.join(directory, 'run'));
  const { fd, mount } = await openMount(directory);
  closeSync(fd);
  here = { majorMinor: mount.majorMinor, fstype: mount.fstype };
  guards = [];
});
afterEach(() => {
  die();
  vi.unstubAllEnvs();
  rmSync(directory, { recursive: true });
});

/** A freeze of the filesystem here. Guarded until `die`. */
async function onRecord(
  changes: Partial<FreezeRecordBody> = {},
  status?: FreezeStatus,
): Promise<FreezeRecordBody> {
  const body = freezeBody({ ...here, mountpoint: directory, freezeId: 'second00', ...changes });
  guards.push(await putOnRecord(body, status));
  return body;
}

function die(): void {
  for (const fd of guards.splice(0)) closeSync(fd);
}

/** One that was lost before, and that nobody has asked for. */
function lostBefore(): void {
  const body = freezeBody({ ...here, mountpoint: directory, freezeId: 'first000' });
  keepUntold({ body, status: { ...LOST, reason: 'max-hold' }, guarded: false });
}

const meant = (freezeId?: string) => ({ path: directory, freezeId });

describe('the freeze that is meant by a path', () => {
  it('is the one that is held there, and nothing stays open', async () => {
    const body = await onRecord();
    expect(await findHeld(meant())).toMatchObject({ body: { ...body }, doubt: undefined });
    expect(timesOpen(directory)).toBe(0);
  });

  it('is none where there never was one, and where it was thawed', async () => {
    await expect(findHeld(meant())).rejects.toMatchObject({ code: 'notFrozen' });
    await onRecord({}, THAWED);
    await expect(findHeld(meant())).rejects.toMatchObject({ code: 'notFrozen' });
  });

  it('is told as lost where it was', async () => {
    await onRecord({}, LOST);
    await expect(findHeld(meant())).rejects.toMatchObject({ code: 'freezeLost' });
  });

  it('is the one that was lost before, after one that was thawed, and while a command holds its own', async () => {
    lostBefore();
    const lost = { code: 'freezeLost', message: expect.stringContaining('max-hold') as string };
    await onRecord({}, THAWED);
    await expect(findHeld(meant())).rejects.toMatchObject(lost);
    die();
    await onRecord({ detached: false });
    await expect(findHeld(meant())).rejects.toMatchObject(lost);
  });

  it('may be either, where one was lost before and another is held by hand', async () => {
    lostBefore();
    const body = await onRecord();
    expect(await findHeld(meant())).toMatchObject({ body: { ...body }, doubt: { freezeId: 'first000' } });
  });

  it('is that of the filesystem there, and not another that was made by the same name', async () => {
    const under = await onRecord({ majorMinor: '0:999999' });
    expect((await findHeld(meant())).body).toMatchObject(under);
    await onRecord({}, LOST);
    await expect(findHeld(meant())).rejects.toMatchObject({ code: 'freezeLost' });
  });

  it('is found by its name once the directory is gone; a name of none is refused', async () => {
    const mountpoint = path.join(directory, 'gone');
    await expect(findHeld({ path: mountpoint, freezeId: undefined })).rejects.toMatchObject({
      code: 'usage',
    });
    const body = await onRecord({ majorMinor: '0:999999', mountpoint });
    expect((await findHeld({ path: mountpoint, freezeId: undefined })).body).toMatchObject(body);
  });
});

describe('the freeze that is meant by its id', () => {
  it('is that one alone, whatever was lost before', async () => {
    lostBefore();
    const body = await onRecord();
    expect(await findHeld(meant('second00'))).toMatchObject({ body: { ...body }, doubt: undefined });
  });

  it('is told as lost where it was lost before, and where nothing is known of it any more', async () => {
    lostBefore();
    await onRecord();
    await expect(findHeld(meant('first000'))).rejects.toMatchObject({
      code: 'freezeLost',
      message: expect.stringContaining('max-hold') as string,
    });
    await expect(findHeld(meant('none0000'))).rejects.toMatchObject({
      code: 'freezeLost',
      message: expect.stringContaining('is over') as string,
    });
  });
});

describe('that a loss was told', () => {
  const isTold = (): unknown => findRecord(here)?.status;

  it('is noted of that freeze alone, where one is named', async () => {
    lostBefore();
    await onRecord({}, LOST);
    die();
    await noteTold(meant('none0000'));
    expect(isTold()).toEqual(LOST);
    expect(findUntold(here)).toBeDefined();
    await noteTold(meant('first000'));
    expect(isTold()).toEqual(LOST);
    expect(findUntold(here)).toBeUndefined();
    await noteTold(meant('second00'));
    expect(isTold()).toEqual({ ...LOST, isTold: true });
  });

  it('is noted of all that may have been meant, where none is named', async () => {
    lostBefore();
    await onRecord({}, LOST);
    die();
    await noteTold(meant());
    expect(isTold()).toEqual({ ...LOST, isTold: true });
    expect(findUntold(here)).toBeUndefined();
  });

  it('is no matter to one that is not lost, nor where there is none', async () => {
    await noteTold(meant());
    await noteTold({ path: path.join(directory, 'none'), freezeId: undefined });
    await onRecord({}, THAWED);
    die();
    await noteTold(meant());
    expect(isTold()).toEqual(THAWED);
  });
});
