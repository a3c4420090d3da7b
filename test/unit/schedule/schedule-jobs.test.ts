import { mkdir, mkdtemp, readdir, readFile, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { JobConfig } from '../../../src/config/types.js';
import { FsbackupError } from '../../../src/errors.js';
import type { InstallFacts, Schedule } from '../../../src/schedule/plan-install.js';
import {
  installSchedules,
  removeSchedules,
  selectSchedules,
  type ScheduleHost,
} from '../../../src/schedule/schedule-jobs.js';
import { renderScheduleStatus } from '../../../src/schedule/render-schedule.js';
import { readSchedule, scheduleStatus } from '../../../src/schedule/schedule-status.js';
import { UnitDirectory } from '../../../src/schedule/unit-directory.js';
import type { CalendarAnswer } from '../../../src/system/calendar-event.js';
import { aJob } from '../../support/plan-facts.js';

const job = (name: string, rest: Partial<JobConfig> = {}): JobConfig => aJob({ name, ...rest });

const FACTS: InstallFacts = {
  templates: {
    'fsbackup@.service': '# fsbackup schedule install\n[Service]\nExecStart=fsbackup run %i\n',
    'fsbackup@.timer': '# fsbackup schedule install\n[Timer]\nOnCalendar=daily\n',
  },
  program: ['/usr/bin/node', '/opt/fsbackup/bin/run.js'],
  configFile: undefined,
  directories: {},
};

/** A manager that enables and disables as systemctl does, by links, and knows one calendar that is none. */
class FakeSystemd {
  readonly calls: string[] = [];
  booted = true;

  constructor(readonly directory: string) {}

  isBooted(): boolean {
    return this.booted;
  }

  async systemctl(...args: string[]): Promise<string> {
    this.calls.push(args.join(' '));
    const units = args.slice(args.indexOf('--') + 1);
    const wants = path.join(this.directory, 'timers.target.wants');
    if (args[0] === 'enable') await mkdir(wants, { recursive: true });
    for (const unit of units) {
      const link = path.join(wants, unit);
      if (args[0] === 'disable') await unlink(link);
      if (args[0] === 'enable') {
        await rm(link, { force: true });
        await symlink('../fsbackup@.timer', link);
      }
    }
    if (args[0] === 'clean') throw new FsbackupError('failed', 'Unit is active or failed', { hint: '' });
    if (args[0] === 'list-timers') return '[]';
    return args[0] === 'show' ? 'ActiveState=active\nUnitFileState=enabled\n' : '';
  }

  async examineCalendar(calendar: string): Promise<CalendarAnswer> {
    if (calendar === 'dayly') return { kind: 'refused' };
    if (calendar === 'asked in vain') return { kind: 'unasked', why: 'systemd-analyze is not installed' };
    return { kind: 'known', comesAgain: true };
  }
}

let directory: string;
let systemd: FakeSystemd;
let host: ScheduleHost;

beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), 'schedule-'));
  systemd = new FakeSystemd(directory);
  host = { systemd, units: new UnitDirectory(directory) };
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const read = (name: string): Promise<string> => readFile(path.join(directory, name), 'utf8');
const SERVICE_DROP_IN = 'fsbackup@srv-db.service.d/50-fsbackup.conf';
const TIMER_DROP_IN = 'fsbackup@srv-db.timer.d/50-fsbackup.conf';

describe('which jobs are scheduled', () => {
  const jobs = [job('srv-db', { schedule: 'hourly' }), job('home')];

  it('are those that are named, or those that have a schedule', () => {
    const chosen = (...args: [string[], string?]): unknown =>
      selectSchedules(jobs, args[0], args[1]).map((one) => [one.job.name, one.calendar]);
    expect(chosen([])).toEqual([['srv-db', 'hourly']]);
    expect(chosen(['home'])).toEqual([['home', undefined]]);
    expect(chosen(['srv-db'], '*-*-* 02:30')).toEqual([['srv-db', '*-*-* 02:30']]);
  });

  it.each([
    [['sv-db'], undefined, /no job sv-db/],
    [[], 'daily', /jobs that are named/],
    [['home'], 'daily\nOnBootSec=1', /no calendar event/],
    [['home'], '%h', /no calendar event/],
  ] as const)('refuses %j %j', (names, calendar, message) => {
    expect(() => selectSchedules(jobs, names, calendar)).toThrow(message);
  });

  it('are none where no job says so', () => {
    expect(() => selectSchedules([job('home')], [], undefined)).toThrow(/no job .* has a schedule/);
  });
});

describe('an installation', () => {
  const credential = (name: string): JobConfig =>
    job('srv-db', {
      targets: [
        {
          path: '/var/lib/x',
          engine: 'restic',
          mustBeMountpoint: false,
          repository: {
            repository: 's3:x',
            initialise: false,
            password: { credential: name },
            environment: { AWS_SECRET_ACCESS_KEY: { credential: 's3-key' }, PLAIN: 'plain' },
          },
        },
      ],
    });

  it('writes the units with what runs them, and what the job says', async () => {
    const facts = { ...FACTS, configFile: '/etc/my "50%".yaml' };
    const schedule = { job: credential('repository'), calendar: '*-*-* 02:30' };
    const change = await installSchedules([schedule], facts, host);
    expect(change.timers).toEqual(['fsbackup@srv-db.timer']);
    expect(change.changed).toEqual(['fsbackup@.service', 'fsbackup@.timer', SERVICE_DROP_IN, TIMER_DROP_IN]);
    expect(await read('fsbackup@.service')).toContain(
      'ExecStart="/usr/bin/node" "/opt/fsbackup/bin/run.js" run %i\n',
    );
    expect((await read(SERVICE_DROP_IN)).split('\n').slice(1)).toEqual([
      '[Service]',
      String.raw`Environment="FSBACKUP_CONFIG=/etc/my \"50%%\".yaml"`,
      'LoadCredential=repository',
      'LoadCredential=s3-key',
      '',
    ]);
    expect((await read(TIMER_DROP_IN)).split('\n').slice(1)).toEqual([
      '[Timer]',
      'OnCalendar=',
      'OnCalendar=*-*-* 02:30',
      'RandomizedDelaySec=0',
      '',
    ]);
    expect(systemd.calls).toEqual([
      'daemon-reload',
      'enable -- fsbackup@srv-db.timer',
      'stop -- fsbackup@srv-db.timer',
      'clean --what=state -- fsbackup@srv-db.timer',
      'restart -- fsbackup@srv-db.timer',
    ]);
  });

  it('has no timer make up for what an earlier calendar of it did not say', async () => {
    const at = (name: string, calendar: string): Schedule => ({ job: job(name), calendar });
    await installSchedules([at('srv-db', 'monthly'), at('home', 'daily')], FACTS, host);
    systemd.calls.length = 0;
    await installSchedules([at('srv-db', 'hourly'), at('home', 'daily')], FACTS, host);
    expect(systemd.calls).toEqual([
      'daemon-reload',
      'enable -- fsbackup@srv-db.timer fsbackup@home.timer',
      'stop -- fsbackup@srv-db.timer',
      // systemd refuses that for a timer that waits for its time.
      'clean --what=state -- fsbackup@srv-db.timer',
      'clean --what=state -- fsbackup@home.timer',
      'restart -- fsbackup@srv-db.timer fsbackup@home.timer',
    ]);
    systemd.calls.length = 0;
    await removeSchedules(['home'], host);
    expect(systemd.calls.slice(0, 2)).toEqual([
      'disable --now -- fsbackup@home.timer',
      'clean --what=state -- fsbackup@home.timer',
    ]);
  });

  it('changes no file when it is done again, and only what is new', async () => {
    await installSchedules([{ job: job('srv-db'), calendar: 'daily' }], FACTS, host);
    expect(
      (await installSchedules([{ job: job('srv-db'), calendar: 'daily' }], FACTS, host)).changed,
    ).toEqual([]);
    const later = await installSchedules([{ job: job('srv-db'), calendar: 'hourly' }], FACTS, host);
    expect(later.changed).toEqual([TIMER_DROP_IN]);
    expect(await read(TIMER_DROP_IN)).not.toContain('daily');
  });

  it('refuses a calendar that systemd does not know, and writes nothing', async () => {
    const wrong = installSchedules([{ job: job('srv-db'), calendar: 'dayly' }], FACTS, host);
    await expect(wrong).rejects.toMatchObject({
      code: 'usage',
      message: 'systemd knows no calendar event "dayly", for job srv-db',
    });
    expect(await readdir(directory)).toEqual([]);
  });

  it('does not call a calendar wrong that it cannot ask about, and writes nothing', async () => {
    const unasked = installSchedules([{ job: job('srv-db'), calendar: 'asked in vain' }], FACTS, host);
    await expect(unasked).rejects.toMatchObject({
      code: 'failed',
      message: expect.stringContaining('cannot be checked: systemd-analyze is not installed') as string,
    });
    expect(await readdir(directory)).toEqual([]);
  });

  it("leaves somebody else's unit of that name alone, and writes nothing", async () => {
    await writeFile(path.join(directory, 'fsbackup@.timer'), '[Timer]\nOnBootSec=1h\n');
    const refused = installSchedules([{ job: job('srv-db'), calendar: undefined }], FACTS, host);
    await expect(refused).rejects.toThrow(/fsbackup@\.timer was not written by fsbackup schedule/);
    expect(await readdir(directory)).toEqual(['fsbackup@.timer']);
    expect(systemd.calls).toEqual([]);
  });

  it('refuses to take over the timer of another configuration, and writes nothing', async () => {
    const daily = { job: job('srv-db'), calendar: 'daily' };
    const other = { ...FACTS, configFile: String.raw`/etc/web "50%%\".yaml` };
    await installSchedules([daily], other, host);
    const before = await read(SERVICE_DROP_IN);
    systemd.calls.length = 0;
    const home = { job: job('home'), calendar: 'daily' };
    await expect(installSchedules([home, daily], FACTS, host)).rejects.toMatchObject({
      code: 'usage',
      message: String.raw`fsbackup@srv-db.timer runs the job srv-db of /etc/web "50%%\".yaml`,
      hint: expect.stringContaining('fsbackup schedule remove srv-db') as string,
    });
    expect([await read(SERVICE_DROP_IN), await host.units.jobs()]).toEqual([before, ['srv-db']]);
    expect(systemd.calls).toEqual([]);
    expect((await installSchedules([daily], other, host)).changed).toEqual([]);
    const status = await scheduleStatus(host);
    expect(status.schedules).toMatchObject([{ job: 'srv-db', configFile: other.configFile }]);
    expect(renderScheduleStatus(status, other.configFile)).not.toContain('CONFIGURATION');
    expect(renderScheduleStatus(status, '/etc/fsbackup/config.yaml')).toContain(
      `BY ANOTHER CONFIGURATION: ${other.configFile}`,
    );
    await removeSchedules(['srv-db'], host);
    expect((await installSchedules([daily], FACTS, host)).changed).toContain(SERVICE_DROP_IN);
  });

  it('gives the line for cron where systemd does not run', async () => {
    systemd.booted = false;
    const facts = { ...FACTS, configFile: "/etc/it's 50%.yaml" };
    const refused = installSchedules([{ job: job('srv-db'), calendar: 'hourly' }], facts, host);
    await expect(refused).rejects.toMatchObject({
      code: 'failed',
      hint: 'With cron, write this to /etc/cron.d/fsbackup:',
      below: [
        String.raw`@hourly root /usr/bin/node /opt/fsbackup/bin/run.js run --quiet --lock-wait 6h --config '/etc/it'\''s 50\%.yaml' srv-db`,
      ],
    });
    expect(await readdir(directory)).toEqual([]);
  });
});

describe('a removal', () => {
  beforeEach(async () => {
    await installSchedules(
      [
        { job: job('srv-db'), calendar: 'daily' },
        { job: job('home'), calendar: undefined },
      ],
      FACTS,
      host,
    );
    systemd.calls.length = 0;
  });

  it('takes its own files away, and the templates with the last of them', async () => {
    const first = await removeSchedules(['srv-db'], host);
    expect(first).toEqual({
      version: 1,
      timers: ['fsbackup@srv-db.timer'],
      changed: [SERVICE_DROP_IN, TIMER_DROP_IN],
    });
    expect(await host.units.jobs()).toEqual(['home']);
    await removeSchedules(['home'], host);
    expect(await readdir(directory)).toEqual(['timers.target.wants']);
  });

  it('does nothing the second time', async () => {
    await removeSchedules(['srv-db'], host);
    systemd.calls.length = 0;
    expect(await removeSchedules(['srv-db'], host)).toEqual({ version: 1, timers: [], changed: [] });
    expect(systemd.calls).toEqual([]);
  });

  it("leaves the administrator's drop-ins, and the templates while a timer of his is enabled", async () => {
    await writeFile(path.join(directory, 'fsbackup@srv-db.service.d/override.conf'), '[Service]\nNice=5\n');
    await symlink('../fsbackup@.timer', path.join(directory, 'timers.target.wants/fsbackup@his.timer'));
    await removeSchedules(['srv-db', 'home'], host);
    expect(await readdir(path.join(directory, 'fsbackup@srv-db.service.d'))).toEqual(['override.conf']);
    expect(await readdir(directory)).toContain('fsbackup@.timer');
  });

  it('refuses what would lead out of the directory', async () => {
    await expect(removeSchedules(['../x'], host)).rejects.toMatchObject({ code: 'usage' });
  });
});

describe('the status', () => {
  it('tells of all that are scheduled, and of none where systemd does not run', async () => {
    await installSchedules([{ job: job('srv-db'), calendar: 'daily' }], FACTS, host);
    expect((await scheduleStatus(host)).schedules).toMatchObject([
      { job: 'srv-db', timer: 'fsbackup@srv-db.timer', enabled: true, active: true, result: null },
    ]);
    systemd.booted = false;
    expect(await scheduleStatus(host)).toEqual({ version: 1, schedules: [] });
  });

  const timer = 'UnitFileState=enabled\nActiveState=active\n';
  const timers = JSON.stringify([
    { next: 0, left: 0, last: 0, passed: 0, unit: 'fsbackup@other.timer', activates: '' },
    {
      next: 1_764_115_200_000_000,
      left: 5,
      last: null,
      passed: 0,
      unit: 'fsbackup@srv.timer',
      activates: '',
    },
  ]);
  const service = (state: string, result: string, code: number, status: number): string =>
    `ActiveState=${state}\nResult=${result}\nExecMainCode=${code}\nExecMainStatus=${status}\n`;

  it.each([
    ['not run yet', service('inactive', 'success', 0, 0), { running: false, result: null, exitCode: null }],
    [
      'with warnings',
      service('inactive', 'success', 1, 3),
      { running: false, result: 'success', exitCode: 3 },
    ],
    ['failed', service('failed', 'exit-code', 1, 40), { running: false, result: 'exit-code', exitCode: 40 }],
    ['killed', service('failed', 'signal', 2, 9), { running: false, result: 'signal', exitCode: null }],
    ['running', service('activating', 'success', 0, 0), { running: true, result: null, exitCode: null }],
  ])('reads what systemctl shows: %s', (_, text, expected) => {
    expect(readSchedule('srv', { timer, service: text, timers })).toEqual({
      job: 'srv',
      timer: 'fsbackup@srv.timer',
      enabled: true,
      active: true,
      next: '2025-11-26T00:00:00.000Z',
      last: null,
      ...expected,
    });
  });
});
