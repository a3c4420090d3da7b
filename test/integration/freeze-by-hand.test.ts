import { EventEmitter } from 'node:events';
import { chmodSync, existsSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { freezeAroundCommand, type HeldResult } from '../../src/freeze/freeze-around-command.js';
import { freezeDetached, freezeWhile, type DetachedFreeze } from '../../src/freeze/freeze-by-hand.js';
import { findRecord } from '../../src/freeze/freeze-record.js';
import { readFreezeStatus } from '../../src/freeze/freeze-status.js';
import type { FreezeTarget } from '../../src/freeze/freezer.js';
import { thawMountpoints } from '../../src/freeze/release-by-hand.js';
import { describeNeeding } from '../support/capabilities.js';
import { eventually, isFrozen, isGuard } from '../support/freeze-harness.js';
import { openFiles, watchOpenFiles } from '../support/open-files.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const OPTIONS = { timeoutMs: 30_000, maxHoldMs: 60_000 };

/** What `freeze` does, with a process that the test plays: its signals, and whoever it tells. */
describeNeeding(['root', 'loop', 'ext4', 'xfs'], 'a freeze by hand', () => {
  const disks = throwawayDisks(afterAll);
  let disk: ThrowawayFilesystem;
  let lower: ThrowawayFilesystem;
  let upper: ThrowawayFilesystem;
  let signals: EventEmitter;
  let told: DetachedFreeze[];

  beforeAll(async () => {
    disk = await disks.filesystem({ fstype: 'ext4' });
    lower = await disks.filesystem({ fstype: 'xfs' });
    upper = await disks.filesystem({ fstype: 'ext4', on: lower });
  });
  beforeEach(() => {
    vi.stubEnv('FSBACKUP_RUN_DIR', `${disks.directory}/run`);
    signals = new EventEmitter();
    told = [];
  });
  afterEach(async () => {
    await thawMountpoints([disk.mountpoint, upper.mountpoint], { force: false });
    await eventually(
      'the guards to end',
      () => !told.flatMap(({ watchdogPids }) => watchdogPids).some(isGuard),
    );
    vi.unstubAllEnvs();
  });

  function targets(...filesystems: ThrowawayFilesystem[]): FreezeTarget[] {
    return filesystems.map(({ mountpoint, majorMinor, device, fstype }) => ({
      mountpoint,
      majorMinor,
      device,
      fstype,
    }));
  }

  async function detached(
    filesystem: ThrowawayFilesystem,
    isTold: () => boolean = () => true,
  ): Promise<void> {
    await freezeDetached(targets(filesystem), OPTIONS, {
      signals,
      tell: async (frozen) => {
        told.push(frozen);
        return isTold();
      },
    });
  }

  async function around(
    argv: readonly [string, ...string[]],
    options = OPTIONS,
    warn: (message: string) => unknown = () => undefined,
  ): Promise<HeldResult> {
    return await freezeAroundCommand(targets(disk), options, argv, {
      signals,
      searchPath: '/usr/bin:/bin',
      warn,
    });
  }

  /** The descriptors that this process has on a mountpoint. */
  function openOn({ mountpoint }: ThrowawayFilesystem): number {
    return openFiles().filter((file) => file.endsWith(` ${mountpoint}`)).length;
  }

  /** Waits until it is held, without a freeze of our own; the guards' pids. */
  async function held(): Promise<readonly number[]> {
    return await eventually('the freeze', async () => {
      const { frozen } = await readFreezeStatus();
      return frozen.find(({ state }) => state === 'frozen')?.watchdogPids;
    });
  }

  it('is left to the guards once that was told; a signal later changes nothing', async () => {
    const allClosed = watchOpenFiles();
    await detached(disk);
    expect(told[0]?.expiresInMs).toBeLessThanOrEqual(OPTIONS.timeoutMs);
    expect(await isFrozen(disk)).toBe(true);
    expect(findRecord(disk)).toMatchObject({ status: { kind: 'armed' }, body: { detached: true } });
    // Who listens is not ended.
    for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP']) expect(signals.emit(name, name)).toBe(true);
    await allClosed();
  });

  it('is thawed again where nobody could be told, or a signal came before', async () => {
    await expect(detached(disk, () => false)).rejects.toMatchObject({ code: 'failed' });
    expect(await isFrozen(disk)).toBe(false);
    const interrupted = detached(disk, () => signals.emit('SIGTERM', 'SIGTERM'));
    await expect(interrupted).rejects.toMatchObject({ code: 'terminated' });
    expect(await isFrozen(disk)).toBe(false);
  });

  it('has what is dirty written first: until then nothing is guarded, or stalls', async () => {
    writeFileSync(`${upper.mountpoint}/dirty`, 'x'.repeat(1_000_000));
    await must('fsfreeze', '--freeze', lower.mountpoint);
    let freezing: Promise<void> | undefined;
    try {
      freezing = detached(upper);
      await sleep(700);
      expect(findRecord(upper)).toBeUndefined();
    } finally {
      await must('fsfreeze', '--unfreeze', lower.mountpoint);
    }
    await freezing;
    expect(await isFrozen(upper)).toBe(true);
  });

  it('is refused where another has frozen it, and leaves nothing', async () => {
    const allClosed = watchOpenFiles();
    await must('fsfreeze', '--freeze', disk.mountpoint);
    try {
      await expect(detached(disk)).rejects.toMatchObject({ code: 'notFrozen' });
    } finally {
      await must('fsfreeze', '--unfreeze', disk.mountpoint);
    }
    await allClosed();
    await detached(disk);
  });

  it('is held for a while by one descriptor, and thawed whatever becomes of that', async () => {
    const { signal } = new AbortController();
    const look = async (): Promise<number> => {
      expect(await isFrozen(disk)).toBe(true);
      return openOn(disk);
    };
    const done = await freezeWhile(targets(disk), OPTIONS, look, signal);
    expect(done).toMatchObject({ result: 1, outcomes: [{ lost: undefined }] });
    expect(await isFrozen(disk)).toBe(false);
    const failure = new Error('it failed');
    const fail = (): Promise<never> => Promise.reject(failure);
    await expect(freezeWhile(targets(disk), OPTIONS, fail, signal)).rejects.toBe(failure);
    expect(await isFrozen(disk)).toBe(false);
    expect(openOn(disk)).toBe(0);
  });

  it('around a command ends with its exit code, and tells then what weakened it', async () => {
    const warnings: string[] = [];
    const running = around(['sleep', '1'], OPTIONS, (message) => warnings.push(message));
    const [, second = 0] = await held();
    process.kill(second, 'SIGKILL');
    await sleep(100);
    expect(warnings).toEqual([]);
    expect(await running).toMatchObject({ exitCode: 0, outcomes: [{ lost: undefined }] });
    expect(warnings).toContain('the second watchdog is gone');
    expect(await around(['false'])).toMatchObject({ exitCode: 1 });
  });

  it('around a command that a signal precedes does not start it', async () => {
    const mark = `${disks.directory}/started`;
    signals.on('newListener', (name) => {
      if (name === 'SIGTERM') setImmediate(() => signals.emit('SIGTERM', 'SIGTERM'));
    });
    await expect(around(['touch', mark])).rejects.toMatchObject({ code: 'terminated' });
    expect(existsSync(mark)).toBe(false);
    expect(await isFrozen(disk)).toBe(false);
  });

  it('around a command that a signal interrupts is thawed first, and the command ended', async () => {
    const running = around(['sleep', '30']);
    await held();
    // The command is about to be started once all is frozen.
    await sleep(200);
    signals.emit('SIGINT', 'SIGINT');
    await expect(running).rejects.toMatchObject({ code: 'interrupted' });
    expect(await isFrozen(disk)).toBe(false);
  });

  it('around a command is lost, exit 21, and it is told what helps', async () => {
    const tooLong = await around(['sleep', '1'], { timeoutMs: 10_000, maxHoldMs: 300 });
    expect(tooLong).toMatchObject({
      exitCode: 21,
      problem: { hint: expect.stringContaining('a longer --max-hold may help') as string },
    });
    // A child of it, which no thaw of its own ends.
    const write = `sh -c 'echo x >"$0"' ${disk.mountpoint}/written; true`;
    expect(await around(['sh', '-c', write], { timeoutMs: 10_000, maxHoldMs: 3000 })).toMatchObject({
      exitCode: 21,
      problem: {
        hint: expect.stringMatching(/sh \(pid \d+\) hung in the kernel .* write elsewhere/) as string,
      },
    });
    const thawed = around(['sleep', '1']);
    await held();
    await must('fsfreeze', '--unfreeze', disk.mountpoint);
    expect(await thawed).toMatchObject({
      exitCode: 21,
      problem: { hint: expect.stringContaining('who thawed it') as string },
    });
    const ended = around(['sleep', '1']);
    const [watchdog = 0] = await held();
    process.kill(watchdog, 'SIGTERM');
    expect(await ended).toMatchObject({
      exitCode: 21,
      problem: { hint: expect.stringContaining('its watchdogs') as string },
    });
  });

  it('around a command that cannot be started is thawed, and it is told why', async () => {
    expect(await around(['no-such-command'])).toMatchObject({
      exitCode: 127,
      problem: { message: 'no-such-command was not found, so nothing was frozen' },
      outcomes: [],
    });
    const script = `${disks.directory}/script`;
    writeFileSync(script, '#!/nowhere/interpreter\n');
    chmodSync(script, 0o755);
    expect(await around([script])).toMatchObject({
      exitCode: 127,
      problem: { message: expect.stringContaining('could not be started') as string },
      outcomes: [{ lost: undefined }],
    });
    expect(await isFrozen(disk)).toBe(false);
  });
});
