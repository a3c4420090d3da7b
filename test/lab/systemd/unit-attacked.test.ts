import { readFileSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import process from 'node:process';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { RecoverReport } from '../../../src/journal/recover.js';
import { guards } from '../../support/deadman-lab.js';
import { describeInLab } from '../../support/lab.js';
import { storageState } from '../../support/lvm-lab.js';
import { JOB, SERVICE, SystemdLab } from '../../support/systemd-lab.js';
import { must } from '../../support/throwaway-filesystem.js';

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
    attack: () => must('systemctl', 'stop', '--', SERVICE),
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
    name: 'systemctl kill -s KILL with the device suspended by lvcreate',
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

    async function expectNothingLeft(): Promise<void> {
      const recovered = await lab.json<RecoverReport>('recover');
      expect(recovered).toMatchObject({ released: [], failed: [], leftAlone: [] });
      expect(await lab.leftovers()).toEqual([]);
      expect(await storageState()).toEqual(before);
    }

    it('runs well when it is let alone', async () => {
      expect(await lab.runsWell()).toBe('success');
      await expectNothingLeft();
    });

    it.each(ATTACKS.filter((one) => thorough || one.thorough === undefined))(
      '$name: thawed at once, nothing left, and runs again',
      async (one) => {
        await lab.startFrozen(one.how);
        expect(await lab.thawedAfter(one.attack)).toBeLessThan(LIMIT_MS);
        expect(await lab.ended(), await lab.journal()).toBe(one.result);
        expect(await ending()).toBe(one.ending);
        await expectNothingLeft();
        expect(await lab.runsWell()).toBe('success');
      },
    );

    it('its own timeout: thawed, nothing left, and runs again', async () => {
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
      expect(await lab.runsWell()).toBe('success');
    });

    it('is thawed by what it runs after its end where both watchdogs are stopped', async () => {
      await lab.startFrozen('frozen');
      const { watchdog, second } = guards();
      for (const pid of [second, watchdog]) process.kill(pid, 'SIGSTOP');
      expect(await lab.thawedAfter(() => kill())).toBeLessThan(LIMIT_MS);
      expect(await lab.ended(), await lab.journal()).toBe('signal');
      expect(await lab.journal()).toMatch(/Thawed: /);
      await expectNothingLeft();
      expect(await lab.runsWell()).toBe('success');
    });

    it('leaves a freeze by hand alone', async () => {
      const frozen = await lab.fsbackup('freeze', '--timeout', '80', '--max-hold', '90', lab.target);
      expect(frozen.exitCode, frozen.stderr).toBe(0);
      try {
        const cleaned = await lab.fsbackup('thaw', '--all', '--orphaned');
        expect(cleaned.stdout).toMatch(/Nothing was frozen/);
      } finally {
        expect((await lab.fsbackup('thaw', lab.target)).exitCode).toBe(0);
      }
    });
  },
);
