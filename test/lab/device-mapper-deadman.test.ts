import process from 'node:process';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { DeadmanLab, MARGIN_MS, TIMEOUT_MS } from '../support/deadman-lab.js';
import { expectLost } from '../support/expect-lost.js';
import { describeInLab } from '../support/lab.js';

/** From a death until the device runs, in the guards: a second for the command to end, and no more. */
const GRACE_MS = 1000;
/** Heartbeats let it last beyond the timeout. */
const MAX_HOLD_MS = TIMEOUT_MS + 10_000;

// Native mode by a command, which is what lvcreate does: it works on every kernel, and hangs where the test wants it to.
describeInLab({ once: 'nests' }, 'a snapshot command that leaves the origin suspended', ({ disks }) => {
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

  it('and hangs is killed, and the origin resumed, at max-hold', async () => {
    const started = await lab.suspendedBy(await lab.job(lab.hang(), { maxHold: `${MAX_HOLD_MS}ms` }));
    await expectLost(lab, started, { reason: 'max-hold' });
    const stallMs = await lab.stallMs();
    expect(stallMs).toBeGreaterThan(TIMEOUT_MS);
    expect(stallMs).toBeLessThan(MAX_HOLD_MS + MARGIN_MS);
    expect(await lab.leftovers()).toEqual([]);
  });

  it('and is killed is waited for no longer: the run goes on at once, and says so', async () => {
    const started = await lab.suspendedBy(await lab.job(lab.hang()));
    process.kill(-lab.commandGroup, 'SIGKILL');
    await expectLost(lab, started, { reason: 'left-suspended' });
    expect(await lab.stallMs()).toBeLessThan(MARGIN_MS);
    expect(await lab.leftovers()).toEqual([]);
  });

  it('is killed at once when the command line is', async () => {
    const started = await lab.suspendedBy(await lab.job(lab.hang(), { timeout: '50s' }));
    started.kill('SIGKILL');
    expect(await lab.stallMs()).toBeLessThan(GRACE_MS + MARGIN_MS);
    expect(await lab.leftovers()).toEqual([]);
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
    expect(stallMs).toBeLessThan(TIMEOUT_MS + MARGIN_MS);
    started.kill('SIGCONT');
    await expectLost(lab, started, { reason: 'timeout' });
    expect(await lab.leftovers()).toEqual([]);
  });

  it('has not hurt the filesystem', async () => {
    expect(await lab.isSound()).toBe(true);
  });
});
