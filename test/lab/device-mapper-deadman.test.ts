import process from 'node:process';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import type { RunReport } from '../../src/report/run-report.js';
import { DeadmanLab, guards, MARGIN_MS } from '../support/deadman-lab.js';
import type { StartedCli } from '../support/fsbackup-cli.js';
import { describeInLab } from '../support/lab.js';

/** From a death until the device runs, in the guards: a second for the command to end, and no more. */
const GRACE_MS = 1000;

function reportOf(started: StartedCli): RunReport {
  return JSON.parse(started.output.slice(started.output.indexOf('{\n'))) as RunReport;
}

// Native mode by a command, which is what lvcreate does: it works on every kernel, and hangs where the test wants it to.
describeInLab({}, 'a snapshot command that leaves the origin suspended', ({ disks }) => {
  let lab: DeadmanLab;

  beforeAll(async () => {
    lab = await DeadmanLab.make('deadman', disks[0] ?? '');
  });
  afterEach(async () => {
    await lab.release();
  });
  afterAll(async () => {
    await lab.dispose();
  });

  /** A run that ended as one whose freeze was lost: nothing of it is left, and the volume is named. */
  async function expectLost(started: StartedCli, reason: string): Promise<void> {
    expect(await started.ended(), started.output).toBe(21);
    const report = reportOf(started);
    const lost = `${lab.volume.mountpoint} (${reason})`;
    expect(report.error).toMatchObject({
      code: 'freezeLost',
      message: expect.stringContaining(lost) as string,
    });
    expect(report.sources).toMatchObject([{ snapshot: null, frozenMs: null }]);
    expect(report.warnings).toContainEqual(
      expect.stringMatching(/left deadman-srv .* suspended.*LVM's state wants a look/) as string,
    );
    expect(lab.wasRemoved).toBe(true);
  }

  it('and hangs is killed, and the origin resumed, at max-hold', async () => {
    const started = await lab.suspendedBy(await lab.job(lab.hang(), { maxHold: '4s' }));
    await expectLost(started, 'max-hold');
    const stallMs = await lab.stallMs();
    expect(stallMs).toBeGreaterThan(1000);
    expect(stallMs).toBeLessThan(4000 + MARGIN_MS);
    await lab.expectCleared();
  });

  it('and is killed is waited for no longer: the run goes on at once, and says so', async () => {
    const started = await lab.suspendedBy(await lab.job(lab.hang()));
    process.kill(-lab.commandGroup, 'SIGKILL');
    await expectLost(started, 'left-suspended');
    expect(await lab.stallMs()).toBeLessThan(MARGIN_MS);
    await lab.expectCleared();
  });

  it('is killed at once when the command line is', async () => {
    const started = await lab.suspendedBy(await lab.job(lab.hang(), { timeout: '50s' }));
    started.kill('SIGKILL');
    expect(await lab.stallMs()).toBeLessThan(GRACE_MS + MARGIN_MS);
    await lab.expectCleared();
    expect(lab.wasRemoved).toBe(false);
    const recovered = await lab.cli.recover();
    expect(recovered).toMatchObject({ exitCode: 0, value: { failed: [] } });
    expect(lab.wasRemoved).toBe(true);
  });

  it('is killed at the timeout when the command line is stopped', async () => {
    const started = await lab.suspendedBy(await lab.job(lab.hang()));
    started.kill('SIGSTOP');
    const stallMs = await lab.stallMs();
    expect(stallMs).toBeGreaterThan(1000);
    expect(stallMs).toBeLessThan(3000 + MARGIN_MS);
    started.kill('SIGCONT');
    await expectLost(started, 'timeout');
    await lab.expectCleared();
  });

  it('is killed by the second when the watchdog is, and the command line too', async () => {
    const started = await lab.suspendedBy(await lab.job(lab.hang(), { timeout: '50s' }));
    // Stopped, it can do nothing itself.
    started.kill('SIGSTOP');
    process.kill(guards().watchdog, 'SIGKILL');
    started.kill('SIGKILL');
    expect(await lab.stallMs()).toBeLessThan(GRACE_MS + MARGIN_MS);
    await lab.expectCleared();
    await lab.cli.recover();
    expect(lab.wasRemoved).toBe(true);
  });

  it('is killed when the watchdog is', async () => {
    const started = await lab.suspendedBy(await lab.job(lab.hang(), { timeout: '50s' }));
    process.kill(guards().watchdog, 'SIGKILL');
    await expectLost(started, 'guard-died');
    expect(await lab.stallMs()).toBeLessThan(GRACE_MS + MARGIN_MS);
    await lab.expectCleared();
  });

  it('is left alone until its time is up when only the second is killed', async () => {
    const started = await lab.suspendedBy(await lab.job(lab.hang(), { maxHold: '6s' }));
    process.kill(guards().second, 'SIGKILL');
    await expectLost(started, 'max-hold');
    expect(await lab.stallMs()).toBeLessThan(6000 + MARGIN_MS);
    await lab.expectCleared();
  });

  it.each(['SIGSTOP', 'SIGKILL'] as const)(
    'is killed by the command line when both guards get a %s',
    async (signal) => {
      const started = await lab.suspendedBy(await lab.job(lab.hang(), { maxHold: '6s' }));
      const { watchdog, second } = guards();
      // The second first: it would act on the death of the watchdog.
      for (const pid of [second, watchdog]) process.kill(pid, 'SIGSTOP');
      if (signal === 'SIGKILL') for (const pid of [second, watchdog]) process.kill(pid, signal);
      await expectLost(started, signal === 'SIGKILL' ? 'guard-died' : 'timeout');
      expect(await lab.stallMs()).toBeLessThan(6000 + MARGIN_MS);
      await lab.expectCleared();
    },
  );

  it('has not hurt the filesystem', async () => {
    await lab.expectSound();
  });
});
