import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import process from 'node:process';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import type { RecoverReport } from '../../../src/journal/recover-report.js';
import type { ScheduleChange } from '../../../src/schedule/schedule-jobs.js';
import type { ScheduleStatus } from '../../../src/schedule/schedule-status.js';
import { guards } from '../../support/deadman-lab.js';
import { describeInLab } from '../../support/lab.js';
import { storageState } from '../../support/lvm-lab.js';
import { JOB, patiently, SERVICE, SystemdLab, TIMER } from '../../support/systemd-lab.js';
import { must } from '../../support/throwaway-filesystem.js';

// Each step starts fsbackup some times, which takes an emulated guest with other things to do a while.
vi.setConfig({ testTimeout: 600_000, hookTimeout: 600_000 });

/** What the freezes are given is 90 s: what thawed within this was not the deadline. An emulated guest is slow. */
const LIMIT_MS = 45_000;
const RUNTIME_DROP_IN = `/run/systemd/system/${SERVICE}.d`;

/** Who thawed: fsbackup itself, or a guard, and why; what was never frozen through FIFREEZE has no record. */
type Ending = 'thawed' | 'lost holder-died';

interface Attack {
  name: string;
  how: 'frozen' | 'suspended';
  attack: () => Promise<unknown>;
  result: string;
  ending: Ending;
  /** Only in a thorough run: it differs from another by who is killed. */
  thorough?: true;
}

const kill = (...who: string[]) => must('systemctl', 'kill', '--signal=KILL', ...who, '--', SERVICE);

const ATTACKS: readonly Attack[] = [
  {
    name: 'systemctl stop',
    how: 'frozen',
    // Its clean-up may take a busy guest longer than a program is waited for.
    attack: () => must('systemctl', 'stop', '--no-block', '--', SERVICE),
    result: 'exit-code',
    ending: 'thawed',
  },
  {
    name: 'systemctl kill -s KILL, all of its processes',
    how: 'frozen',
    attack: () => kill(),
    result: 'signal',
    ending: 'lost holder-died',
  },
  {
    name: 'SIGKILL of its main process only',
    thorough: true,
    how: 'frozen',
    attack: () => kill('--kill-whom=main'),
    result: 'signal',
    ending: 'lost holder-died',
  },
  {
    name: 'cgroup.kill',
    thorough: true,
    how: 'frozen',
    attack: async () => {
      const cgroup = await must('systemctl', 'show', '--value', '--property=ControlGroup', '--', SERVICE);
      await writeFile(`/sys/fs/cgroup${cgroup}/cgroup.kill`, '1');
    },
    result: 'signal',
    ending: 'lost holder-died',
  },
  {
    name: 'systemctl kill -s KILL with the device suspended by LVM',
    how: 'suspended',
    attack: () => kill(),
    result: 'signal',
    ending: 'lost holder-died',
  },
];

describeInLab(
  { init: 'systemd' },
  'the unit of a job, attacked while its filesystem is frozen',
  ({ disks, thorough }) => {
    let lab: SystemdLab;
    let before: string[];

    beforeAll(async () => {
      lab = await SystemdLab.make('lab-unit', disks.slice(0, 2));
      await lab.configure();
      const installed = await lab.fsbackup('schedule', 'install', JOB);
      if (installed.exitCode !== 0) throw new Error(installed.stderr);
      await lab.writer.acknowledged(3);
      before = await storageState();
    });

    afterAll(async () => {
      await lab.dispose();
    });

    /** The first line of the record of the only filesystem that was frozen since boot. */
    async function ending(): Promise<string> {
      const device = await must('findmnt', '-n', '-o', 'MAJ:MIN', lab.volume.mountpoint);
      const [line = ''] = readFileSync(`/run/fsbackup/superblocks/${device.trim()}`, 'utf8').split('\n');
      return line.trim().split(' ').slice(0, 2).join(' ');
    }

    /** The unit itself runs `recover` after its end. */
    async function expectNothingLeft(): Promise<void> {
      expect(await lab.leftovers()).toEqual([]);
      expect(await storageState()).toEqual(before);
    }

    it.each(ATTACKS.filter((one) => thorough || one.thorough === undefined))(
      '$name: thawed at once, and nothing left',
      async (one) => {
        await lab.startFrozen(one.how);
        expect(await lab.thawedAfter(one.attack)).toBeLessThan(LIMIT_MS);
        expect(await lab.ended(), await lab.journal()).toBe(one.result);
        expect(await ending()).toBe(one.ending);
        await expectNothingLeft();
      },
    );

    it('its own timeout: thawed, and nothing left', async () => {
      await lab.startFrozen('frozen');
      await mkdir(RUNTIME_DROP_IN, { recursive: true });
      await writeFile(`${RUNTIME_DROP_IN}/limit.conf`, '[Service]\nTimeoutStartSec=1s\n');
      try {
        // It counts from the start of the unit, and holds once the units are loaded again.
        expect(await lab.thawedAfter(() => must('systemctl', 'daemon-reload'))).toBeLessThan(LIMIT_MS);
        expect(await lab.ended(), await lab.journal()).toBe('timeout');
        expect(await ending()).toBe('thawed');
        await expectNothingLeft();
      } finally {
        await rm(RUNTIME_DROP_IN, { recursive: true });
        await must('systemctl', 'daemon-reload');
      }
    });

    it('is thawed by what it runs after its end where both watchdogs are stopped', async () => {
      await lab.startFrozen('frozen');
      const { watchdog, second } = guards();
      for (const pid of [second, watchdog]) process.kill(pid, 'SIGSTOP');
      expect(await lab.thawedAfter(() => kill())).toBeLessThan(LIMIT_MS);
      expect(await lab.ended(), await lab.journal()).toBe('signal');
      expect(await lab.journal()).toMatch(/Thawed: /);
      await expectNothingLeft();
    });

    it('is started by its timer after all of that, and runs well', async () => {
      expect(await lab.json<RecoverReport>('recover')).toMatchObject({
        released: [],
        failed: [],
        leftAlone: [],
      });
      lab.hangNoMore();
      const installed = await lab.fsbackup('schedule', 'install', JOB, '--calendar', '*:*:00/20');
      expect(installed.exitCode, installed.stderr).toBe(0);
      await patiently(
        'the timer to start it',
        async () => (await lab.property('ActiveState')) === 'activating',
      );
      // Once is enough.
      await must('systemctl', 'stop', '--', TIMER);
      expect(await lab.ended(), await lab.journal()).toBe('success');
      const { schedules } = await lab.json<ScheduleStatus>('schedule', 'status');
      expect(schedules).toMatchObject([
        { job: JOB, enabled: true, active: false, running: false, result: 'success', exitCode: 0 },
      ]);
      expect(schedules[0]?.last).toMatch(/^20\d\d-/);
      const removed = await lab.json<ScheduleChange>('schedule', 'remove', JOB);
      expect(removed.timers).toEqual([TIMER]);
      expect(readdirSync('/etc/systemd/system').filter((name) => name.startsWith('fsbackup'))).toEqual([]);
      await expectNothingLeft();
    });
  },
);
