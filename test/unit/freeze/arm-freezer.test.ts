import { closeSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FsbackupError } from '../../../src/errors.js';
import { armFreezer } from '../../../src/freeze/arm-freezer.js';
import * as deadFreezes from '../../../src/freeze/dead-freeze.js';
import * as records from '../../../src/freeze/freeze-record.js';
import { DeviceWatch } from '../../../src/freeze/device-watch.js';
import type { FreezeTarget, GuardedDevice } from '../../../src/freeze/freezer.js';
import type { GuardedFreezer } from '../../../src/freeze/guarded-freezer.js';
import { openMount } from '../../../src/freeze/mountpoint.js';
import { readUntold } from '../../../src/freeze/untold-losses.js';
import * as watchdogs from '../../../src/freeze/watchdog-process.js';
import { freezeBody, putOnRecord } from '../../support/on-record.js';
import { timesOpen } from '../../support/times-open.js';

// Other tests of this process have loaded what is mocked here.
vi.hoisted(() => vi.resetModules());
// No guard is started here, and nothing is frozen.
vi.mock('../../../src/freeze/dead-freeze.js', { spy: true });
vi.mock('../../../src/freeze/freeze-record.js', { spy: true });
vi.mock('../../../src/freeze/watchdog-process.js', { spy: true });

const LONG = { timeoutMs: 60_000, maxHoldMs: 90_000 };
const DEVICE: GuardedDevice = { majorMinor: '252:99999', name: 'vg-srv', mountpoints: ['/srv'] };
const PAGE = '/memfd:page (deleted)';

let directory: string;
let run: string;
/** The filesystem that the directory is on. */
let here: FreezeTarget;
let done: string[];

beforeEach(async () => {
  directory = mkdtempSync(path.join(os.tmpdir(), 'arm-'));
  run = path.join(directory, 'run');
  mkdirSync(run, { mode: 0o700 });
  vi.stubEnv('FSBACKUP_RUN_DIR', run);
  const { fd, mount } = await openMount(directory);
  closeSync(fd);
  const { majorMinor, fstype, source } = mount;
  here = { mountpoint: directory, majorMinor, fstype, device: source };
  done = [];
  vi.mocked(deadFreezes.endDeadFreeze).mockResolvedValue('thawed');
  vi.mocked(watchdogs.startWatchdog).mockResolvedValue(aWatchdog());
});
afterEach(() => {
  vi.resetAllMocks();
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  rmSync(directory, { recursive: true });
});

/** Guards that answer nothing, and note what is done to them. */
function aWatchdog(): watchdogs.Watchdog {
  return {
    connection: { request: async () => ({}), closed: false },
    pids: [11, 12],
    warnings: [],
    quit: async () => void done.push('quit'),
    end: async () => void done.push('end'),
    release: () => done.push('release'),
  } as unknown as watchdogs.Watchdog;
}

function aWatch(): void {
  const watch = { controlFd: 7, close: () => done.push('watch closed') } as unknown as DeviceWatch;
  vi.spyOn(DeviceWatch, 'create').mockResolvedValue(watch);
}

const arm = async (targets = [here], devices: GuardedDevice[] = []): Promise<GuardedFreezer> =>
  await armFreezer({ targets, devices }, LONG);

const status = (): unknown => records.findRecord(here)?.status;
const elsewhere = (): FreezeTarget => ({ ...here, majorMinor: '0:999999' });
const filesOpen = (): number[] =>
  [directory, path.join(run, 'superblocks', here.majorMinor), path.join(run, 'rcu-expedited'), PAGE].map(
    timesOpen,
  );

/** A freeze of the filesystem here by hand that nobody guards. */
async function abandoned(changes: Partial<records.FreezeRecordBody> = {}): Promise<void> {
  closeSync(await putOnRecord(freezeBody({ ...here, ...changes })));
}

describe('what a dead freeze left on record', () => {
  it('is ended before its record is overwritten, and kept as lost though the new freeze is not made', async () => {
    await abandoned();
    await expect(arm([here, elsewhere()])).rejects.toMatchObject({ code: 'notFrozen' });
    expect(deadFreezes.endDeadFreeze).toHaveBeenCalledOnce();
    expect(status()).toMatchObject({ kind: 'lost', reason: 'guard-died' });
    expect(readUntold()).toMatchObject([{ mountpoint: directory, reason: 'guard-died' }]);
    expect(filesOpen()).toEqual([0, 0, 0, 0]);
  });

  it('is in the way where it cannot be ended, and stays on record', async () => {
    await abandoned();
    const failure = new FsbackupError('thawFailed', 'it may still be frozen', { hint: 'mount it' });
    vi.mocked(deadFreezes.endDeadFreeze).mockRejectedValue(failure);
    await expect(arm()).rejects.toBe(failure);
    expect(status()).toEqual({ kind: 'armed' });
    expect(filesOpen()).toEqual([0, 0, 0, 0]);
    expect(watchdogs.startWatchdog).not.toHaveBeenCalled();
  });

  it('is nothing to another filesystem of the same number', async () => {
    await abandoned({ fstype: 'other' });
    await expect(arm([here, elsewhere()])).rejects.toMatchObject({ code: 'notFrozen' });
    expect(deadFreezes.endDeadFreeze).not.toHaveBeenCalled();
  });
});

describe('what is to be frozen', () => {
  it('is at least one, and no more than a page has room for', async () => {
    await expect(arm([])).rejects.toMatchObject({ code: 'usage' });
    await expect(arm(Array.from({ length: 33 }, () => here))).rejects.toMatchObject({
      code: 'usage',
      message: '33 filesystems cannot be guarded together',
    });
    await expect(
      arm(
        [here],
        Array.from({ length: 129 }, () => DEVICE),
      ),
    ).rejects.toMatchObject({
      code: 'usage',
      message: '129 devices cannot be guarded together',
    });
  });

  it('is refused where a socket could have no name of such a length', async () => {
    vi.stubEnv('FSBACKUP_RUN_DIR', path.join(run, 'x'.repeat(100)));
    await expect(arm()).rejects.toMatchObject({ code: 'usage' });
  });

  it('is left alone, with nothing open, where a filesystem is not the one that was found', async () => {
    await expect(arm([here, elsewhere()])).rejects.toMatchObject({
      code: 'notFrozen',
      message: expect.stringContaining('is no longer the filesystem 0:999999') as string,
    });
    expect(filesOpen()).toEqual([0, 0, 0, 0]);
  });

  it('is left alone, with nothing open, where no guard could be started', async () => {
    aWatch();
    vi.mocked(watchdogs.startWatchdog).mockRejectedValue(new Error('no guard'));
    await expect(arm([here], [DEVICE])).rejects.toThrow('no guard');
    expect(filesOpen()).toEqual([0, 0, 0, 0]);
    expect(done).toEqual(['watch closed']);
  });

  it('is left alone, and its guards are ended, where it cannot be put on record', async () => {
    vi.mocked(records.writeRecord).mockImplementationOnce(() => {
      throw new Error('no room');
    });
    await expect(arm()).rejects.toThrow('no room');
    expect(done).toEqual(['quit', 'end']);
    expect(filesOpen()).toEqual([0, 0, 0, 0]);
  });

  it('is on record when it is armed, open to the freezer alone', async () => {
    aWatch();
    const freezer = await armFreezer(
      { targets: [here], devices: [DEVICE] },
      { ...LONG, freezeId: 'abcd1234' },
    );
    expect(vi.mocked(watchdogs.startWatchdog).mock.calls[0]?.[0]).toMatchObject({ deviceControlFd: 7 });
    expect(records.findRecord(here)).toMatchObject({
      guarded: true,
      status: { kind: 'armed' },
      body: { ...here, freezeId: 'abcd1234', detached: true, watchdogPids: [11, 12] },
    });
    expect(filesOpen()).toEqual([1, 1, 0, 0]);
    await freezer.detach().catch(() => undefined);
    expect(filesOpen()).toEqual([0, 0, 0, 0]);
  });
});
