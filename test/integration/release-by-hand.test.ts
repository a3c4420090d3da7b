import { EventEmitter } from 'node:events';
import { existsSync, readdirSync, symlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { armFreezer } from '../../src/freeze/arm-freezer.js';
import { freezeDetached } from '../../src/freeze/freeze-by-hand.js';
import { findRecord, type FreezeRecordBody } from '../../src/freeze/freeze-record.js';
import { readFreezeStatus } from '../../src/freeze/freeze-status.js';
import type { FreezeTarget } from '../../src/freeze/freezer.js';
import { recoverFreezes } from '../../src/freeze/recover-freezes.js';
import { resetByHand, thawAll, thawMountpoints } from '../../src/freeze/release-by-hand.js';
import { thawWithoutGuards } from '../../src/freeze/thaw-without-guards.js';
import { describeNeeding } from '../support/capabilities.js';
import { eventually, isFrozen, isGuard } from '../support/freeze-harness.js';
import { watchOpenFiles } from '../support/open-files.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const ALIVE = { force: false };

/** What `reset`, `thaw`, `status` and `recover` do, with guards that the test stops and kills. */
describeNeeding(['root', 'loop', 'ext4'], 'a freeze in the care of its guards', () => {
  const disks = throwawayDisks(afterAll);
  let disk: ThrowawayFilesystem;
  let other: ThrowawayFilesystem;
  let pids: number[];

  beforeAll(async () => {
    disk = await disks.filesystem({ fstype: 'ext4' });
    other = await disks.filesystem({ fstype: 'ext4' });
  });
  beforeEach(() => {
    vi.stubEnv('FSBACKUP_RUN_DIR', `${disks.directory}/run`);
    pids = [];
  });
  afterEach(async () => {
    signal('SIGCONT');
    await thawMountpoints([disk.mountpoint, other.mountpoint], ALIVE);
    await eventually('the guards to end', () => !pids.some(isGuard));
    vi.unstubAllEnvs();
  });

  function target({ mountpoint, majorMinor, device, fstype }: ThrowawayFilesystem): FreezeTarget {
    return { mountpoint, majorMinor, device, fstype };
  }

  async function frozen(...filesystems: ThrowawayFilesystem[]): Promise<void> {
    await frozenFor(30_000, ...filesystems);
  }

  async function frozenFor(timeoutMs: number, ...filesystems: ThrowawayFilesystem[]): Promise<void> {
    await freezeDetached(
      filesystems.map(target),
      { timeoutMs, maxHoldMs: 60_000 },
      {
        signals: new EventEmitter(),
        tell: async ({ watchdogPids }) => {
          pids.push(...watchdogPids);
          return true;
        },
      },
    );
  }

  /** The second first: the watchdog would not outlive it by much. */
  function signal(name: NodeJS.Signals): void {
    for (const pid of pids.toReversed()) if (isGuard(pid)) process.kill(pid, name);
  }

  const statusOf = (filesystem: ThrowawayFilesystem): unknown => findRecord(filesystem)?.status;

  function bodyOf(filesystem = disk): FreezeRecordBody {
    const body = findRecord(filesystem)?.body;
    if (body === undefined) throw new Error('it is not on record');
    return body;
  }

  it('is given time, told of, and thawed by any of its names, each told; nothing stays open', async () => {
    const alias = `${disks.directory}/alias`;
    symlinkSync(disk.mountpoint, alias);
    const allClosed = watchOpenFiles();
    await frozen(disk, other);
    expect(
      (await resetByHand({ path: disk.mountpoint, freezeId: undefined }, 50_000)).expiresInMs,
    ).toBeGreaterThan(40_000);
    expect(
      (await resetByHand({ path: disk.mountpoint, freezeId: undefined }, undefined)).expiresInMs,
    ).toBeLessThan(31_000);
    const { frozen: told, lost } = await readFreezeStatus();
    expect(new Set(told.map(({ mountpoint }) => mountpoint))).toEqual(
      new Set([disk.mountpoint, other.mountpoint]),
    );
    for (const one of told) expect(one).toMatchObject({ guards: 'alive', state: 'frozen' });
    expect(lost).toEqual([]);
    // What was frozen last is thawed first.
    expect(await thawMountpoints([alias, other.mountpoint, disk.mountpoint], ALIVE)).toEqual({
      thawed: [other.mountpoint, alias, disk.mountpoint],
      failures: [],
    });
    expect(await readFreezeStatus()).toEqual({ frozen: [], lost: [] });
    expect([await isFrozen(disk), await isFrozen(other)]).toEqual([false, false]);
    await allClosed();
  });

  it('is not ours where it is not: nothing is touched, and those beside it are thawed', async () => {
    await must('fsfreeze', '--freeze', other.mountpoint);
    try {
      await frozen(disk);
      await expect(resetByHand({ path: other.mountpoint, freezeId: undefined }, 1000)).rejects.toMatchObject({
        code: 'notFrozen',
      });
      const { thawed, failures } = await thawMountpoints(
        [other.mountpoint, `${disks.directory}/none`, disk.mountpoint],
        ALIVE,
      );
      expect(thawed).toEqual([disk.mountpoint]);
      expect(failures).toMatchObject([{ code: 'notFrozen' }, { code: 'usage' }]);
      expect(await isFrozen(other)).toBe(true);
      const allClosed = watchOpenFiles();
      expect(await thawMountpoints([other.mountpoint], { force: true })).toEqual({
        thawed: [other.mountpoint],
        failures: [],
      });
      expect(await thawMountpoints([other.mountpoint], { force: true })).toMatchObject({
        thawed: [],
        failures: [{ code: 'notFrozen', message: `${other.mountpoint} was not frozen` }],
      });
      await allClosed();
    } finally {
      await must('fsfreeze', '--unfreeze', other.mountpoint).catch(() => undefined);
    }
  });

  it('that a third party thawed is lost, and stays so until it is frozen again', async () => {
    await frozen(disk);
    await must('fsfreeze', '--unfreeze', disk.mountpoint);
    const lost = {
      code: 'freezeLost',
      message: expect.stringContaining('somebody else thawed it') as string,
    };
    await expect(resetByHand({ path: disk.mountpoint, freezeId: undefined }, 1000)).rejects.toMatchObject(
      lost,
    );
    await eventually('the guards to end', () => !pids.some(isGuard));
    await expect(resetByHand({ path: disk.mountpoint, freezeId: undefined }, 1000)).rejects.toMatchObject(
      lost,
    );
    expect((await thawMountpoints([disk.mountpoint], ALIVE)).failures).toMatchObject([lost]);
    expect(await readFreezeStatus()).toMatchObject({
      frozen: [],
      lost: [{ mountpoint: disk.mountpoint, reason: 'third-party' }],
    });
    await frozen(disk);
    expect((await readFreezeStatus()).lost).toEqual([]);
  });

  it('of a running command is nobody else’s to reset, and left alone as long as it runs', async () => {
    const freezer = await armFreezer(
      { targets: [target(disk)], devices: [] },
      { timeoutMs: 30_000, maxHoldMs: 60_000 },
    );
    pids.push(...freezer.watchdogPids);
    try {
      expect((await readFreezeStatus()).frozen).toEqual([]);
      await freezer.freeze();
      await expect(resetByHand({ path: disk.mountpoint, freezeId: undefined }, 1000)).rejects.toMatchObject({
        code: 'notFrozen',
        message: expect.stringContaining('is held by a running command') as string,
      });
      expect(await thawAll({ orphaned: true })).toEqual({ thawed: [], failures: [] });
      expect(await thawAll()).toEqual({ thawed: [disk.mountpoint], failures: [] });
      expect((await freezer.thaw()).filesystems).toMatchObject([{ lost: 'third-party' }]);
    } finally {
      await freezer.close();
    }
  });

  it('whose guards are stopped is thawed in their place, they are ended, and none of it is lost', async () => {
    await frozen(disk);
    signal('SIGSTOP');
    await expect(resetByHand({ path: disk.mountpoint, freezeId: undefined }, 1000)).rejects.toMatchObject({
      code: 'freezeLost',
      message: expect.stringContaining('does not answer') as string,
    });
    expect((await readFreezeStatus()).frozen).toMatchObject([{ guards: 'stopped', state: 'unknown' }]);
    const allClosed = watchOpenFiles();
    expect(await thawAll()).toEqual({ thawed: [disk.mountpoint], failures: [] });
    await allClosed();
    expect(await isFrozen(disk)).toBe(false);
    expect(pids.some(isGuard)).toBe(false);
    expect(statusOf(disk)).toEqual({ kind: 'thawed' });
    expect(readdirSync(`${disks.directory}/run/control`)).toEqual([]);
  });

  it('whose guards are stopped takes with it what was frozen together with it: that is lost', async () => {
    await frozen(disk, other);
    signal('SIGSTOP');
    expect(await thawMountpoints([disk.mountpoint], ALIVE)).toEqual({
      thawed: [disk.mountpoint],
      failures: [],
    });
    expect(await isFrozen(other)).toBe(false);
    expect([statusOf(disk), statusOf(other)]).toMatchObject([
      { kind: 'thawed' },
      { kind: 'lost', reason: 'guard-died' },
    ]);
  });

  it('is left to guards that did at last what they were asked for, with what else they hold', async () => {
    await frozen(disk, other);
    const body = bodyOf();
    expect((await thawMountpoints([disk.mountpoint], ALIVE)).thawed).toEqual([disk.mountpoint]);
    expect(await thawWithoutGuards(body, new Set([disk.majorMinor]))).toBeUndefined();
    expect(await isFrozen(other)).toBe(true);
    expect(pids.filter(isGuard)).toHaveLength(2);
  });

  it('that is mounted nowhere any more may still be frozen, and its guards are left alone', async () => {
    await frozen(disk);
    await must('umount', '--lazy', disk.mountpoint);
    try {
      await expect(thawWithoutGuards(bodyOf(), new Set([disk.majorMinor]))).rejects.toMatchObject({
        code: 'thawFailed',
        message: `${disk.mountpoint} may still be frozen: it is not mounted here any more`,
      });
      expect(pids.filter(isGuard)).toHaveLength(2);
    } finally {
      await must('mount', disk.device, disk.mountpoint);
    }
  });

  it('whose guards were killed is thawed, and was held until then', async () => {
    await frozen(disk);
    signal('SIGSTOP');
    signal('SIGKILL');
    await eventually('the guards to end', () => !pids.some(isGuard));
    expect((await readFreezeStatus()).frozen).toMatchObject([{ guards: 'dead', state: 'unknown' }]);
    await expect(resetByHand({ path: disk.mountpoint, freezeId: undefined }, 1000)).rejects.toMatchObject({
      code: 'freezeLost',
      message: expect.stringContaining('a watchdog was killed') as string,
    });
    expect(await thawMountpoints([disk.mountpoint], ALIVE)).toEqual({
      thawed: [disk.mountpoint],
      failures: [],
    });
    expect(await isFrozen(disk)).toBe(false);
    expect(statusOf(disk)).toEqual({ kind: 'thawed' });
  });

  it('whose guards were killed, and that a third party thawed, is lost', async () => {
    await frozen(disk);
    signal('SIGSTOP');
    signal('SIGKILL');
    await eventually('the guards to end', () => !pids.some(isGuard));
    await must('fsfreeze', '--unfreeze', disk.mountpoint);
    expect((await thawMountpoints([disk.mountpoint], ALIVE)).failures).toMatchObject([
      { code: 'freezeLost', message: expect.stringContaining('a watchdog was killed') as string },
    ]);
  });

  it('whose guards were killed is recovered, once: thawed, or told that it was not frozen', async () => {
    await frozen(disk);
    await frozen(other);
    expect(await recoverFreezes()).toEqual({ recovered: [], failures: [] });
    signal('SIGSTOP');
    signal('SIGKILL');
    await eventually('the guards to end', () => !pids.some(isGuard));
    await must('fsfreeze', '--unfreeze', other.mountpoint);
    const allClosed = watchOpenFiles();
    const { recovered, failures } = await recoverFreezes();
    expect(failures).toEqual([]);
    expect(new Set(recovered)).toEqual(
      new Set([
        { mountpoint: disk.mountpoint, outcome: 'thawed' },
        { mountpoint: other.mountpoint, outcome: 'was not frozen' },
      ]),
    );
    await allClosed();
    expect([statusOf(disk), statusOf(other)]).toMatchObject([
      { kind: 'lost', reason: 'guard-died' },
      { kind: 'thawed' },
    ]);
    expect(await recoverFreezes()).toEqual({ recovered: [], failures: [] });
    expect(await isFrozen(disk)).toBe(false);
  });

  it('whose guards are stopped, and let the deadline pass, is recovered with all that they hold, and lost', async () => {
    await frozenFor(2000, disk, other);
    signal('SIGSTOP');
    await sleep(2500);
    expect([await isFrozen(disk), await isFrozen(other)]).toEqual([true, true]);
    expect(await recoverFreezes({ lateMs: 3_600_000 })).toEqual({ recovered: [], failures: [] });
    const allClosed = watchOpenFiles();
    expect(await recoverFreezes({ lateMs: 0 })).toEqual({
      // What was frozen last is thawed first.
      recovered: [
        { mountpoint: other.mountpoint, outcome: 'thawed' },
        { mountpoint: disk.mountpoint, outcome: 'thawed' },
      ],
      failures: [],
    });
    await allClosed();
    expect([await isFrozen(disk), await isFrozen(other)]).toEqual([false, false]);
    expect(pids.some(isGuard)).toBe(false);
    for (const one of [disk, other]) expect(statusOf(one)).toMatchObject({ kind: 'lost', reason: 'timeout' });
    expect(existsSync(bodyOf().controlPath)).toBe(false);
    expect(await recoverFreezes({ lateMs: 0 })).toEqual({ recovered: [], failures: [] });
  });
});
