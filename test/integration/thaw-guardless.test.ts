import { once } from 'node:events';
import { closeSync, openSync, readdirSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { SlotState } from '../../src/freeze/protocol.js';
import { recoverFreezes } from '../../src/freeze/recover-freezes.js';
import { sweepControlSockets } from '../../src/freeze/sweep-control-sockets.js';
import { tryLock } from '../../src/system/native.js';
import { describeNeeding } from '../support/capabilities.js';
import { eventually, FreezeHarness, isFrozen, isGuard } from '../support/freeze-harness.js';
import { GuardsByHand } from '../support/guards-by-hand.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

/** What was frozen by hand, several together, and of which one is thawed when their guards do not answer. */
describeNeeding(['root', 'loop', 'ext4', 'xfs'], 'filesystems that one pair of guards holds', () => {
  const disks = throwawayDisks(afterAll);
  const hand = new GuardsByHand(disks);
  let harness: FreezeHarness;
  let lower: ThrowawayFilesystem;
  let upper: ThrowawayFilesystem;
  let other: ThrowawayFilesystem;

  beforeAll(async () => {
    lower = await disks.filesystem({ fstype: 'xfs' });
    upper = await disks.filesystem({ fstype: 'ext4', on: lower });
    other = await disks.filesystem({ fstype: 'ext4' });
  });
  beforeEach(() => {
    harness = new FreezeHarness(`${disks.directory}/state`);
  });
  afterEach(async () => {
    await harness.fsbackup('thaw', '--all');
    await harness.dispose();
  });

  async function freeze(...mountpoints: string[]): Promise<{ watchdog: number; second: number }> {
    const { exitCode, stderr } = await harness.fsbackup('freeze', '--timeout', '60', ...mountpoints);
    expect(exitCode, stderr).toBe(0);
    return await harness.held(mountpoints[0] ?? '');
  }

  it.each([
    ['the watchdog is', ['watchdog']],
    ['both guards are', ['second', 'watchdog']],
  ] as const)('are all thawed, where %s stopped, and what was not asked for is lost', async (_, stopped) => {
    const guards = await freeze(upper.mountpoint, other.mountpoint);
    for (const name of stopped) process.kill(guards[name], 'SIGSTOP');
    const thawed = await harness.fsbackup('thaw', upper.mountpoint);
    expect(thawed.exitCode, thawed.stderr).toBe(0);
    expect([await isFrozen(upper), await isFrozen(other)]).toEqual([false, false]);
    expect([guards.watchdog, guards.second].filter(isGuard)).toEqual([]);
    const { frozen, lost } = await harness.status();
    expect(frozen).toEqual([]);
    expect(lost).toMatchObject([{ mountpoint: other.mountpoint, reason: 'guard-died' }]);
    expect((await harness.fsbackup('thaw', other.mountpoint)).exitCode).toBe(21);
  });

  it('are none lost, where the watchdog is stopped and all are asked for', async () => {
    const { watchdog } = await freeze(upper.mountpoint, other.mountpoint);
    process.kill(watchdog, 'SIGSTOP');
    const thawed = await harness.fsbackup('thaw', other.mountpoint, upper.mountpoint);
    expect(thawed.exitCode, thawed.stderr).toBe(0);
    expect(await harness.status()).toMatchObject({ frozen: [], lost: [] });
  });

  it('are lost, where the watchdog is stopped while it asks whether they are held: nobody knows what it found', async () => {
    const { watchdog } = await freeze(upper.mountpoint, other.mountpoint);
    process.kill(watchdog, 'SIGSTOP');
    const page = openSync(`/proc/${watchdog}/fd/4`, 'r+');
    hand.publish({ pageFd: page }, SlotState.probing);
    closeSync(page);
    const thawed = await harness.fsbackup('thaw', upper.mountpoint, other.mountpoint);
    expect(thawed.exitCode, thawed.stderr).toBe(21);
    const { frozen, lost } = await harness.status();
    expect(frozen).toEqual([]);
    expect(lost).toMatchObject([{ mountpoint: upper.mountpoint, reason: 'guard-died' }]);
  });

  it('are all thawed, and all lost, where the watchdog was killed', async () => {
    const { watchdog, second } = await freeze(upper.mountpoint, other.mountpoint);
    process.kill(second, 'SIGSTOP');
    process.kill(watchdog, 'SIGKILL');
    const thawed = await harness.fsbackup('thaw', upper.mountpoint);
    expect(thawed.exitCode, thawed.stderr).toBe(0);
    expect([await isFrozen(upper), await isFrozen(other)]).toEqual([false, false]);
    await eventually('the second to end', () => !isGuard(second));
    expect((await harness.fsbackup('thaw', other.mountpoint)).exitCode).toBe(21);
  });

  it('stay held but for the one that is asked for, whose thaw waits in the kernel for seconds', async () => {
    const { watchdog, second } = await freeze(upper.mountpoint, other.mountpoint);
    await must('fsfreeze', '--freeze', lower.mountpoint);
    try {
      const thawing = harness.fsbackup('thaw', upper.mountpoint);
      await sleep(3000);
      await must('fsfreeze', '--unfreeze', lower.mountpoint);
      const thawed = await thawing;
      expect(thawed.exitCode, thawed.stderr).toBe(0);
    } finally {
      await must('fsfreeze', '--unfreeze', lower.mountpoint).catch(() => undefined);
    }
    expect([watchdog, second].filter(isGuard)).toHaveLength(2);
    expect((await harness.status()).frozen).toMatchObject([
      { mountpoint: other.mountpoint, guards: 'alive', state: 'frozen' },
    ]);
    expect((await harness.fsbackup('thaw', other.mountpoint)).exitCode).toBe(0);
  });

  it('answer although as many as they can answer at a time are connected', async () => {
    await freeze(upper.mountpoint, other.mountpoint);
    const control = `${harness.environment['FSBACKUP_RUN_DIR']}/control`;
    const sockets: Socket[] = [];
    try {
      for (let count = 0; count < 4; count += 1) {
        const socket = connect(`${control}/${readdirSync(control)[0]}`);
        sockets.push(socket);
        await once(socket, 'connect');
      }
      const reset = await harness.fsbackup('reset', upper.mountpoint);
      expect(reset.exitCode, reset.stderr).toBe(0);
      expect((await harness.fsbackup('thaw', upper.mountpoint)).exitCode).toBe(0);
    } finally {
      for (const socket of sockets) socket.destroy();
    }
    expect((await harness.status()).frozen).toMatchObject([{ mountpoint: other.mountpoint }]);
  });

  it('are all thawed, two that are mounted at one place too', async () => {
    await freeze(other.mountpoint);
    await must('mount', '--bind', upper.mountpoint, other.mountpoint);
    try {
      await freeze(other.mountpoint);
      const thawed = await harness.fsbackup('thaw', '--all');
      expect(thawed.exitCode, thawed.stderr).toBe(0);
      expect(thawed.stdout).toBe(`Thawed: ${other.mountpoint}\n`.repeat(2));
    } finally {
      await must('umount', other.mountpoint);
    }
    expect([await isFrozen(upper), await isFrozen(other)]).toEqual([false, false]);
  });

  it('are found by recover once all guards are killed, though somebody is just reading their record', async () => {
    const { watchdog, second } = await freeze(other.mountpoint);
    for (const pid of [second, watchdog]) process.kill(pid, 'SIGSTOP');
    for (const pid of [second, watchdog]) process.kill(pid, 'SIGKILL');
    await eventually('the guards to be gone', () => [watchdog, second].every((pid) => !isGuard(pid)));
    const runDirectory = process.env['FSBACKUP_RUN_DIR'];
    process.env['FSBACKUP_RUN_DIR'] = harness.environment['FSBACKUP_RUN_DIR'];
    const record = openSync(`${process.env['FSBACKUP_RUN_DIR']}/superblocks/${other.majorMinor}`, 'r');
    try {
      expect(await eventually('the lock', () => tryLock(record))).toBe(true);
      // So that its own look at them takes no time, and the record is looked at next.
      await sweepControlSockets();
      const recovering = recoverFreezes();
      await sleep(40);
      closeSync(record);
      expect((await recovering).recovered).toEqual([{ mountpoint: other.mountpoint, outcome: 'thawed' }]);
    } finally {
      if (runDirectory === undefined) delete process.env['FSBACKUP_RUN_DIR'];
      else process.env['FSBACKUP_RUN_DIR'] = runDirectory;
    }
    expect(await isFrozen(other)).toBe(false);
  });
});
