import { closeSync, constants, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { DeviceWatch } from '../../../src/freeze/device-watch.js';
import { FreezeSet, type FreezerSlot } from '../../../src/freeze/freeze-set.js';
import { SlotState } from '../../../src/freeze/protocol.js';
import { createPage, type PageHandle } from '../../../src/system/native.js';
import { openFiles } from '../../support/open-files.js';
import { PROBING_AT } from '../../support/page-layout.js';

/** Of struct page in native/protocol.h. */
const SLOTS_AT = 24;

let directory: string;
let page: PageHandle;
let pageFd: number;
let slots: FreezerSlot[];
let isClosed: boolean;

beforeEach(() => {
  directory = mkdtempSync(path.join(os.tmpdir(), 'set-'));
  ({ page, fd: pageFd } = createPage(1, 60_000, 60_000));
  isClosed = false;
  slots = [
    {
      target: { mountpoint: '/srv', majorMinor: '0:1', device: '/dev/vdz', fstype: 'ext4' },
      mountpointFd: openSync('/dev/null', constants.O_RDONLY),
      recordFd: openSync(path.join(directory, 'record'), constants.O_RDWR | constants.O_CREAT),
    },
  ];
});
afterEach(() => {
  vi.restoreAllMocks();
  if (!isClosed) new FreezeSet(slots, undefined, page).close();
  closeSync(pageFd);
  rmSync(directory, { recursive: true });
});

/** What is frozen, and no FITHAW of ours reaches it. */
function unthawable(): FreezeSet['slots'] {
  writeSync(pageFd, Uint32Array.of(SlotState.held), 0, 4, SLOTS_AT);
  return slots.map((slot) => ({ ...slot, mountpointFd: 999_999 }));
}

/** Devices that do not settle. */
function aWatch(changes: Partial<Record<keyof DeviceWatch, unknown>> = {}): DeviceWatch {
  return { settled: false, settle: async () => false, ...changes } as unknown as DeviceWatch;
}

/** Ten seconds go by between two looks at the clock. */
function hasten(): void {
  let now = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => (now += 10_000));
}

it('gives up after half a minute, and names what may still be frozen', async () => {
  hasten();
  await expect(new FreezeSet(unthawable(), undefined, page).thawByOurselves(undefined)).rejects.toMatchObject(
    {
      code: 'thawFailed',
      message: '/srv may still be frozen: FITHAW keeps failing',
    },
  );
});

it('names the devices first, which are below what is frozen', async () => {
  hasten();
  const watch = aWatch({ stuckError: () => new Error('vg-srv may still be suspended') });
  await expect(new FreezeSet(unthawable(), watch, page).thawByOurselves(undefined)).rejects.toThrow(
    'vg-srv may still be suspended',
  );
});

it('does not try again all the time', async () => {
  let tries = 0;
  const settle = async (): Promise<boolean> => {
    tries += 1;
    if (tries === 4) writeSync(pageFd, Uint32Array.of(SlotState.thawed), 0, 4, SLOTS_AT);
    return true;
  };
  const begun = performance.now();
  await new FreezeSet(unthawable(), aWatch({ settle }), page).thawByOurselves(undefined);
  expect(performance.now() - begun).toBeGreaterThan(140);
});

it('thaws what a probe froze after the end of its slot, and nothing else', async () => {
  const set = new FreezeSet(unthawable(), undefined, page);
  await set.undoProbes();
  writeSync(pageFd, Uint32Array.of(1), 0, 4, PROBING_AT);
  await expect(set.undoProbes()).rejects.toMatchObject({ code: 'EBADF' });
});

it('asks for what became of the devices once their measurement has ended, and closes them with the rest', async () => {
  const done: string[] = [];
  const watch = aWatch({
    measured: async () => void done.push('measured'),
    outcomes: () => {
      done.push('outcomes');
      return [];
    },
    close: () => done.push('closed'),
  });
  const held = new Set(slots.flatMap(({ mountpointFd, recordFd }) => [mountpointFd, recordFd]));
  const heldFiles = new Set(openFiles().filter((file) => held.has(Number.parseInt(file, 10))));
  expect(heldFiles.size).toBe(2);
  const set = new FreezeSet(slots, watch, page);
  expect(await set.outcomes()).toEqual({ filesystems: [], devices: [] });
  set.close();
  isClosed = true;
  expect(done).toEqual(['measured', 'outcomes', 'closed']);
  expect(openFiles().filter((file) => heldFiles.has(file))).toEqual([]);
});
