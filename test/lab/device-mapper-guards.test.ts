import process from 'node:process';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { isSuspended } from '../support/device-mapper.js';
import { DeadmanLab, guards, MARGIN_MS, TIMEOUT_MS } from '../support/deadman-lab.js';
import { expectLost } from '../support/expect-lost.js';
import { describeInLab } from '../support/lab.js';
import { must } from '../support/throwaway-filesystem.js';

/** From a death until the device runs, in the guards: a second for the command to end, and no more. */
const GRACE_MS = 1000;

describeInLab({ once: 'leaks' }, 'a snapshot command that hangs with the origin suspended', ({ disks }) => {
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

  it('is killed by the second when the watchdog is, and the command line too', async () => {
    const started = await lab.suspendedBy(await lab.job(lab.hang(), { timeout: '50s' }));
    // Stopped, it can do nothing itself.
    started.kill('SIGSTOP');
    process.kill(guards().watchdog, 'SIGKILL');
    started.kill('SIGKILL');
    expect(await lab.stallMs()).toBeLessThan(GRACE_MS + MARGIN_MS);
    expect(await lab.leftovers()).toEqual([]);
    await lab.cli.recover();
    expect(lab.wasRemoved).toBe(true);
  });

  it('is ended by recover when nobody is left, and the origin resumed with the table it had', async () => {
    const device = `${lab.group.vg}-srv`;
    const table = await must('dmsetup', 'table', device);
    const how = `dmsetup load ${device} --table "0 ${table.split(' ')[1] ?? ''} error"; dmsetup suspend ${device}`;
    const started = await lab.suspendedBy(await lab.job(lab.hang(how), { timeout: '50s' }));
    const { watchdog, second } = guards();
    // Stopped, none can do anything when it is the last that dies.
    started.kill('SIGSTOP');
    for (const guard of [watchdog, second]) process.kill(guard, 'SIGSTOP');
    for (const guard of [second, watchdog]) process.kill(guard, 'SIGKILL');
    started.kill('SIGKILL');
    await started.ended();
    expect(isSuspended(lab.suspended)).toBe(true);
    const recovered = await lab.cli.recover();
    expect(recovered).toMatchObject({ exitCode: 0, value: { failed: [] } });
    expect(lab.wasRemoved).toBe(true);
    expect(await must('dmsetup', 'table', device)).toBe(table);
    await lab.stallMs();
    expect(await lab.leftovers()).toEqual([]);
    expect(await lab.cli.recover()).toMatchObject({ exitCode: 0, value: { released: [] } });
  });

  it('is killed when the watchdog is', async () => {
    const started = await lab.suspendedBy(await lab.job(lab.hang(), { timeout: '50s' }));
    process.kill(guards().watchdog, 'SIGKILL');
    await expectLost(lab, started, { reason: 'guard-died' });
    expect(await lab.stallMs()).toBeLessThan(GRACE_MS + MARGIN_MS);
    expect(await lab.leftovers()).toEqual([]);
  });

  it('is left alone until its time is up when only the second is killed', async () => {
    const started = await lab.suspendedBy(await lab.job(lab.hang(), { maxHold: `${TIMEOUT_MS}ms` }));
    process.kill(guards().second, 'SIGKILL');
    await expectLost(lab, started, { reason: 'max-hold' });
    expect(await lab.stallMs()).toBeLessThan(TIMEOUT_MS + MARGIN_MS);
    expect(await lab.leftovers()).toEqual([]);
  });

  it.each(['SIGSTOP', 'SIGKILL'] as const)(
    'is killed by the command line when both guards get a %s',
    async (signal) => {
      const started = await lab.suspendedBy(await lab.job(lab.hang()));
      const { watchdog, second } = guards();
      // The second first: it would act on the death of the watchdog.
      for (const pid of [second, watchdog]) process.kill(pid, 'SIGSTOP');
      if (signal === 'SIGKILL') for (const pid of [second, watchdog]) process.kill(pid, signal);
      await expectLost(lab, started, { reason: signal === 'SIGKILL' ? 'guard-died' : 'timeout' });
      expect(await lab.stallMs()).toBeLessThan(TIMEOUT_MS + MARGIN_MS);
      expect(await lab.leftovers()).toEqual([]);
    },
  );
});
