import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { endDeadFreeze } from '../../../src/freeze/dead-freeze.js';
import * as withinModule from '../../../src/freeze/within.js';
import * as native from '../../../src/system/native.js';
import { readMounts } from '../../../src/system/mountinfo.js';
import { freezeBody } from '../../support/on-record.js';
import { findSequencedDisk } from '../../support/sequenced-disk.js';
import { timesOpen } from '../../support/times-open.js';

// Other tests of this process have loaded what is mocked here.
vi.hoisted(() => vi.resetModules());
// Nothing here is frozen: the kernel is asked nothing.
vi.mock('../../../src/system/native.js', { spy: true });
vi.mock('../../../src/freeze/within.js', { spy: true });

let directory: string;
/** A name that leads nowhere: whether anything is left behind it cannot be told. */
let unknown: string;

beforeEach(() => {
  directory = mkdtempSync(path.join(os.tmpdir(), 'dead-'));
  unknown = path.join(directory, 'loop');
  symlinkSync(unknown, unknown);
  vi.mocked(native.probeFrozen).mockResolvedValue(true);
  vi.mocked(native.thawInBackground).mockResolvedValue();
});
afterEach(() => {
  vi.resetAllMocks();
  rmSync(directory, { recursive: true });
});

describe('what a dead command left frozen, and is mounted nowhere here', () => {
  it('is gone where nothing is behind its device', async () => {
    expect(await endDeadFreeze(freezeBody({ device: path.join(directory, 'none') }))).toBe('gone');
    expect(await endDeadFreeze(freezeBody({ device: '/dev/null' }))).toBe('gone');
  });

  it('is gone with a device of its number, whatever is behind that name now', async () => {
    expect(await endDeadFreeze(freezeBody({ majorMinor: '259:999999', device: unknown }))).toBe('gone');
  });

  it('is gone where the device has another disk by now', async () => {
    const majorMinor = findSequencedDisk();
    if (majorMinor === undefined) return;
    const body = freezeBody({ majorMinor, fstype: 'none', device: unknown });
    await expect(endDeadFreeze(body)).rejects.toMatchObject({ code: 'thawFailed' });
    expect(await endDeadFreeze({ ...body, diskSequence: '0' })).toBe('gone');
  });

  it('may still be frozen where that cannot be told', async () => {
    await expect(endDeadFreeze(freezeBody({ device: unknown }))).rejects.toMatchObject({
      code: 'thawFailed',
      message: expect.stringContaining('mount it again') as string,
    });
    expect(native.thawInBackground).not.toHaveBeenCalled();
  });
});

describe('what a dead command left frozen, and is mounted', () => {
  async function mounted(): Promise<ReturnType<typeof freezeBody>> {
    const proc = (await readMounts()).find(({ mountpoint }) => mountpoint === '/proc');
    return freezeBody({ mountpoint: '/proc', majorMinor: proc?.majorMinor ?? '', fstype: 'proc' });
  }

  const open = (): number => timesOpen('/proc');

  it('is thawed where it is frozen, and left alone where it is not', async () => {
    const body = await mounted();
    expect(await endDeadFreeze(body)).toBe('thawed');
    expect(native.thawInBackground).toHaveBeenCalledOnce();
    vi.mocked(native.probeFrozen).mockResolvedValue(false);
    expect(await endDeadFreeze(body)).toBe('was not frozen');
    expect(native.thawInBackground).toHaveBeenCalledOnce();
    await expect.poll(open).toBe(0);
  });

  it('may still be frozen where its thaw fails, and nothing stays open', async () => {
    vi.mocked(native.thawInBackground).mockRejectedValue(new Error('EIO'));
    await expect(endDeadFreeze(await mounted())).rejects.toMatchObject({
      code: 'thawFailed',
      message: '/proc may still be frozen: EIO',
    });
    await expect.poll(open).toBe(0);
  });

  it('may still be frozen where its thaw waits for too long, and is open until that ends', async () => {
    vi.mocked(withinModule.within).mockResolvedValue(false);
    let end: () => void = () => undefined;
    vi.mocked(native.thawInBackground).mockReturnValue(new Promise((resolve) => (end = resolve)));
    await expect(endDeadFreeze(await mounted())).rejects.toMatchObject({
      code: 'thawFailed',
      message: expect.stringContaining('FITHAW waits for what it lies on') as string,
    });
    expect(open()).toBe(1);
    end();
    await expect.poll(open).toBe(0);
  });
});
