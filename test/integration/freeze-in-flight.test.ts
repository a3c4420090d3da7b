import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { armFreezer } from '../../src/freeze/arm-freezer.js';
import type { FreezeOptions } from '../../src/freeze/freezer.js';
import type { GuardedFreezer } from '../../src/freeze/guarded-freezer.js';
import { readGuardsPage } from '../../src/freeze/guards-page.js';
import { findRecord } from '../../src/freeze/freeze-record.js';
import { FrameType, SlotState } from '../../src/freeze/protocol.js';
import { freezeSlot, probeFrozen, readPage } from '../../src/system/native.js';
import { runCommand } from '../../src/system/run-command.js';
import { describeNeeding } from '../support/capabilities.js';
import { ended, eventually, FreezeHarness, isGuard } from '../support/freeze-harness.js';
import { GuardsByHand } from '../support/guards-by-hand.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';
import { waitingThread } from '../support/waiting-thread.js';

const TSX = fileURLToPath(new URL('../../node_modules/tsx/dist/esm/index.mjs', import.meta.url));

/** A disk that does no I/O for a while: that of `upper` is a file on what somebody else holds frozen. */
describeNeeding(['root', 'loop', 'ext4', 'xfs'], 'a call that waits for a disk', () => {
  const disks = throwawayDisks(afterAll);
  const hand = new GuardsByHand(disks);
  let ext4: ThrowawayFilesystem;
  let lower: ThrowawayFilesystem;
  let upper: ThrowawayFilesystem;
  let freezers: GuardedFreezer[];

  beforeAll(async () => {
    ext4 = await disks.filesystem({ fstype: 'ext4' });
    lower = await disks.filesystem({ fstype: 'xfs' });
    upper = await disks.filesystem({ fstype: 'ext4', on: lower });
  });
  beforeEach(() => {
    freezers = [];
    hand.begin();
  });
  afterEach(async () => {
    await letGo().catch(() => undefined);
    for (const freezer of freezers) {
      signal(freezer, 'SIGCONT');
      await freezer.close().catch(() => undefined);
      await eventually('the guards to end', () => !freezer.watchdogPids.some(isGuard));
    }
    await hand.end();
  });

  async function hang(): Promise<void> {
    writeFileSync(`${upper.mountpoint}/dirty`, Math.random().toString().repeat(10_000));
    await must('fsfreeze', '--freeze', lower.mountpoint);
  }

  async function letGo(): Promise<void> {
    await must('fsfreeze', '--unfreeze', lower.mountpoint);
  }

  async function armed(
    options: FreezeOptions,
    ...filesystems: ThrowawayFilesystem[]
  ): Promise<GuardedFreezer> {
    const targets = filesystems.map(({ mountpoint, majorMinor, device, fstype }) => ({
      mountpoint,
      majorMinor,
      device,
      fstype,
    }));
    const freezer = await armFreezer({ targets, devices: [] }, options);
    freezers.push(freezer);
    return freezer;
  }

  /** The second first: the watchdog would not outlive it by much. */
  function signal({ watchdogPids }: GuardedFreezer, name: NodeJS.Signals): void {
    for (const pid of watchdogPids.toReversed()) if (isGuard(pid)) process.kill(pid, name);
  }

  async function isFrozen({ mountpoint }: ThrowawayFilesystem): Promise<boolean> {
    return await probeFrozen(hand.open(mountpoint));
  }

  /** Whether one of its threads is in the kernel's FIFREEZE. */
  function waitsInFreeze(pid: number): boolean {
    return readdirSync(`/proc/${pid}/task`).some((thread) =>
      readFileSync(`/proc/${pid}/task/${thread}/stack`, 'utf8').includes('freeze_super'),
    );
  }

  /** What a process has open of files that tell of threads. */
  function openInProc(pid: number): string[] {
    return readdirSync(`/proc/${pid}/fd`).filter((fd) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`).includes('/task/');
      } catch {
        // Closed by now.
        return false;
      }
    });
  }

  /** The first of two is frozen, the FIFREEZE of the other in flight. */
  async function halfFrozen(
    options: FreezeOptions,
  ): Promise<{ freezer: GuardedFreezer; freezing: Promise<string> }> {
    const freezer = await armed(options, ext4, upper);
    await hang();
    const freezing = freezer.freeze().then(
      () => 'frozen',
      () => 'given up',
    );
    await eventually('the first to be frozen', () => isFrozen(ext4));
    return { freezer, freezing };
  }

  it.each([
    ['killed', ['SIGSTOP', 'SIGKILL'], 60_000],
    ['stopped', ['SIGSTOP'], 2000],
  ] as const)('keeps no other filesystem frozen when both guards are %s', async (_, signals, timeoutMs) => {
    const { freezer, freezing } = await halfFrozen({ timeoutMs, maxHoldMs: 90_000 });
    for (const name of signals) signal(freezer, name);
    await eventually('the other to be thawed', async () => !(await isFrozen(ext4)));
    expect(freezer.lost.aborted).toBe(true);
    await letGo();
    expect(await freezing).toBe('given up');
    await eventually('this one, too', async () => !(await isFrozen(upper)));
  });

  it('keeps no other filesystem frozen when all are to be thawed, and no guard does it', async () => {
    const { freezer, freezing } = await halfFrozen({ timeoutMs: 60_000, maxHoldMs: 90_000 });
    signal(freezer, 'SIGSTOP');
    const thawing = freezer.thaw();
    await eventually('the other to be thawed', async () => !(await isFrozen(ext4)));
    await letGo();
    expect(await freezing).toBe('given up');
    await thawing;
    expect(await isFrozen(upper)).toBe(false);
  });

  it('counts for the heartbeat: what took most of the timeout to freeze is held all the same', async () => {
    const freezer = await armed({ timeoutMs: 5000, maxHoldMs: 90_000 }, upper);
    await hang();
    const freezing = freezer.freeze();
    await sleep(3000);
    await letGo();
    await freezing;
    await sleep(3500);
    expect((await freezer.thaw()).filesystems).toMatchObject([{ lost: undefined }]);
  });

  it('of a second filesystem costs the first its time: nothing is begun that would be in vain', async () => {
    const below = await disks.filesystem({ fstype: 'ext4', sizeMiB: 160 });
    const second = await disks.filesystem({ fstype: 'ext4', on: below });
    const freezer = await armed({ timeoutMs: 4000, maxHoldMs: 90_000 }, upper, second);
    await hang();
    writeFileSync(`${second.mountpoint}/dirty`, 'x'.repeat(100_000));
    await must('fsfreeze', '--freeze', below.mountpoint);
    try {
      const freezing = freezer.freeze().then(
        () => 'frozen',
        () => 'given up',
      );
      await sleep(3000);
      await letGo();
      // The first is lost by now, the second in time.
      await sleep(2500);
      await must('fsfreeze', '--unfreeze', below.mountpoint);
      expect(await freezing).toBe('given up');
    } finally {
      await must('fsfreeze', '--unfreeze', below.mountpoint).catch(() => undefined);
    }
    expect(await isFrozen(second)).toBe(false);
  });

  it('hides no loss: what the watchdog was about to tell when it was stopped', async () => {
    const freezer = await armed({ timeoutMs: 2000, maxHoldMs: 90_000 }, upper);
    await freezer.freeze();
    await must('fsfreeze', '--unfreeze', upper.mountpoint);
    await hang();
    const [watchdog = 0] = freezer.watchdogPids;
    // The heartbeat's probe freezes anew what was thawed: that takes as long as the disk does.
    await eventually('the probe', () => readGuardsPage(freezer.watchdogPids, 0)?.state === SlotState.probing);
    process.kill(watchdog, 'SIGSTOP');
    await letGo();
    expect((await freezer.thaw()).filesystems).toMatchObject([{ lost: 'guard-died' }]);
    expect(freezer.lost.aborted).toBe(true);
    expect(await isFrozen(upper)).toBe(false);
  });

  /** Somebody else's FIFREEZE of `upper`, in its sync phase, and ours, which waits for it; both end with `letGo`. */
  async function meeting(freeze: () => Promise<unknown>) {
    await hang();
    const theirs = runCommand(['fsfreeze', '--freeze', upper.mountpoint], { timeoutMs: 60_000 });
    await sleep(500);
    return {
      theirs,
      ours: freeze().then(
        () => 'frozen',
        (error: unknown) => error,
      ),
    };
  }

  it("is no reason to end somebody else's freeze, which was there first, at our deadline", async () => {
    const freezer = await armed({ timeoutMs: 1000, maxHoldMs: 90_000 }, upper);
    const { theirs, ours } = await meeting(() => freezer.freeze());
    try {
      await sleep(2000);
      // Both guards look at what our thread does all the time; one that runs out of files would be blind, and thaw.
      for (const pid of freezer.watchdogPids) expect(openInProc(pid).length).toBeLessThan(10);
      await letGo();
      expect((await theirs).exitCode).toBe(0);
      expect(await ours).toMatchObject({
        code: 'notFrozen',
        message: expect.stringContaining('was left as it is') as string,
      });
      await freezer.close();
      expect(await isFrozen(upper)).toBe(true);
    } finally {
      await letGo().catch(() => undefined);
      await must('fsfreeze', '--unfreeze', upper.mountpoint).catch(() => undefined);
    }
  });

  it.each([
    ['there was none of ours', true],
    ['ours was frozen, and is thawed', false],
  ])("ends somebody else's freeze, and says so: %s", async (_, areTheyFirst) => {
    const guarded = await hand.guard(upper);
    const freeze = () => freezeSlot(guarded.page, 0, guarded.mountpointFd);
    let ours: Promise<unknown>;
    if (areTheyFirst) ({ ours } = await meeting(freeze));
    else {
      await hang();
      ours = freeze().catch((error: unknown) => error);
    }
    await sleep(500);
    // As a guard says it, whose FITHAW had success before our call came back.
    hand.publish(guarded, SlotState.thawed);
    await letGo();
    expect(await ours).toMatchObject({ code: 'ECANCELED' });
    expect(readPage(guarded.page)).toMatchObject([{ endedAnothers: 1 }]);
    if (areTheyFirst) await must('fsfreeze', '--unfreeze', upper.mountpoint);
    expect(await isFrozen(upper)).toBe(false);
  });

  it("ends somebody else's freeze, and says so: ours failed while the thaw of a guard waited", async () => {
    const guarded = await hand.guard(upper);
    await must('fsfreeze', '--freeze', upper.mountpoint);
    await must('fsfreeze', '--freeze', lower.mountpoint);
    hand.publish(guarded, SlotState.calling);
    const thawed = guarded.connection.request({ type: FrameType.thaw }, 60_000);
    await eventually('the thaw to begin', () => readPage(guarded.page)[0]?.thawBeginMs !== 0);
    await sleep(300);
    hand.publish(guarded, SlotState.failed);
    await letGo();
    await thawed;
    expect(readPage(guarded.page)).toMatchObject([{ endedAnothers: 1 }]);
  });

  it('is not every call that waits: one that is elsewhere than in FIFREEZE keeps no thaw back', async () => {
    const guarded = await hand.guard(ext4);
    await hang();
    const writing = writeFile(`${lower.mountpoint}/waits`, '');
    hand.publishCaller(guarded, await eventually('a thread that waits', waitingThread));
    hand.publish(guarded, SlotState.calling);
    const thawed = guarded.connection.request({ type: FrameType.thaw }, 60_000);
    await eventually('the thaw to begin', () => readPage(guarded.page)[0]?.thawBeginMs !== 0);
    hand.publish(guarded, SlotState.failed);
    expect((await thawed).error).toBe(0);
    await letGo();
    await writing;
  });

  it('is given up at the deadline, and what it freezes all the same is thawed', async () => {
    const freezer = await armed({ timeoutMs: 500, maxHoldMs: 90_000 }, upper);
    await hang();
    const freezing = freezer.freeze();
    freezing.catch(() => undefined);
    await sleep(1000);
    await letGo();
    await expect(freezing).rejects.toMatchObject({
      code: 'freezeLost',
      message: expect.stringContaining('took longer than the timeout') as string,
    });
    expect(await isFrozen(upper)).toBe(false);
  });

  it('is thawed when its command was stopped in it, and cannot say that it has frozen', async () => {
    const harness = new FreezeHarness(`${disks.directory}/state`);
    const program = fileURLToPath(new URL('../support/freeze-then.ts', import.meta.url));
    await hang();
    const stopped = harness.start(process.execPath, [
      '--import',
      TSX,
      program,
      upper.mountpoint,
      '2000',
      'wait',
    ]);
    let said = '';
    stopped.stderr?.on('data', (text: Buffer) => (said += text.toString()));
    try {
      await eventually('FIFREEZE', () => waitsInFreeze(stopped.pid ?? 0));
      stopped.kill('SIGSTOP');
      await sleep(2500);
      await letGo();
      await eventually('the thaw', async () => !(await isFrozen(upper)));
    } finally {
      stopped.kill('SIGCONT');
    }
    expect(await ended(stopped)).toBe(1);
    expect(said).toContain('took longer than the timeout');
    await harness.dispose();
  });

  it('loses nothing that was to be thawed before the deadline, and is thawed after it', async () => {
    for (let round = 0; round < 5; round += 1) {
      const freezer = await armed({ timeoutMs: 1000, maxHoldMs: 90_000 }, upper);
      await freezer.freeze();
      await must('fsfreeze', '--freeze', lower.mountpoint);
      const thawing = freezer.thaw();
      await sleep(1500);
      await letGo();
      expect((await thawing).filesystems).toMatchObject([{ lost: undefined }]);
      expect(freezer.lost.aborted).toBe(false);
      await freezer.close();
      expect(findRecord(upper)?.status).toEqual({ kind: 'thawed' });
    }
  });

  it('leaves the command line able to hear, and to say that it cannot thaw', async () => {
    const freezer = await armed({ timeoutMs: 60_000, maxHoldMs: 90_000 }, upper);
    await freezer.freeze();
    await must('fsfreeze', '--freeze', lower.mountpoint);
    const thawing = freezer.thaw().then(
      () => 'thawed',
      () => 'failed',
    );
    let turns = 0;
    for (const until = Date.now() + 3000; Date.now() < until; turns += 1) await sleep(10);
    expect(turns).toBeGreaterThan(10);
    await letGo();
    expect(await thawing).toBe('thawed');
    expect(await isFrozen(upper)).toBe(false);
  });

  it('in the sync before a freeze is no reason to be deaf: what was to be frozen is not', async () => {
    const harness = new FreezeHarness(`${disks.directory}/state`);
    await hang();
    const freezing = harness.startFsbackup(
      'freeze',
      upper.mountpoint,
      '--',
      'touch',
      `${disks.directory}/ran`,
    );
    let said = '';
    freezing.stderr?.on('data', (text: Buffer) => (said += text.toString()));
    // Loading takes a moment; until then a signal just ends it.
    await sleep(3000);
    freezing.kill('SIGINT');
    await eventually('the interrupt to be told', () => said.includes('interrupted'));
    await letGo();
    expect(await ended(freezing)).toBe(130);
    expect((await harness.status()).frozen).toEqual([]);
    await harness.dispose();
  });
});
