import path from 'node:path';
import type { JobConfig } from '../config/types.js';
import { CALENDAR_PATTERN, JOB_NAME_PATTERN } from '../config/schema.js';
import { DEFAULT_CONFIG_FILE } from '../config/read-files.js';
import { FsbackupError } from '../errors.js';
import { pickJobs } from '../run/select-jobs.js';
import { suggested } from '../system/command-line.js';
import { crontabLines } from './crontab-lines.js';
import { dropInsOf, planInstall, type InstallFacts, type Schedule } from './plan-install.js';
import type { Systemd } from './systemd.js';
import type { UnitDirectory } from './unit-directory.js';
import { configurationOf, TEMPLATES, unitName } from './unit-text.js';

/** What schedules are made with. */
export interface ScheduleHost {
  systemd: Systemd;
  units: UnitDirectory;
}

/** What `schedule install` and `remove` did. Plain data. */
export interface ScheduleChange {
  version: 1;
  /** The timers that are enabled now, or are no more. */
  timers: string[];
  /** Files written or removed, relative to the directory of units; none: all was so before. */
  changed: string[];
}

function usage(message: string, hint: string): FsbackupError {
  return new FsbackupError('usage', message, { hint });
}

/**
 * Pure. The jobs named, each when `calendar` or else its own `schedule` says; without names all that have a `schedule`.
 * Throws `usage`.
 */
export function selectSchedules(
  jobs: readonly JobConfig[],
  names: readonly string[],
  calendar: string | undefined,
): Schedule[] {
  if (calendar !== undefined && !CALENDAR_PATTERN.test(calendar)) {
    throw usage(`"${calendar}" is no calendar event`, 'Write for example daily, or "*-*-* 02:30".');
  }
  if (calendar !== undefined && names.length === 0) {
    throw usage(
      '--calendar is for jobs that are named',
      'Name them, or write `schedule` into the configuration.',
    );
  }
  const chosen = pickJobs(jobs, names).filter((job) => names.length > 0 || job.schedule !== undefined);
  if (chosen.length === 0) {
    throw usage(
      'no job of the configuration has a schedule',
      'Write `schedule: daily` into a job, or name the job.',
    );
  }
  return chosen.map((job) => ({ job, calendar: calendar ?? job.schedule }));
}

/** Rejects unless systemd knows when: what it does not know it would refuse only once the units are written. */
async function requireCalendar({ job, calendar }: Schedule, { systemd }: ScheduleHost): Promise<void> {
  if (calendar === undefined) return;
  const answer = await systemd.examineCalendar(calendar);
  if (answer.kind === 'known') return;
  if (answer.kind === 'refused') {
    throw usage(
      `systemd knows no calendar event "${calendar}", for job ${job.name}`,
      'Write for example daily, Mon..Fri 22:00 or *-*-* 02:30; see systemd.time(7).',
    );
  }
  throw new FsbackupError(
    'failed',
    `whether systemd knows the calendar event "${calendar}" of job ${job.name} cannot be checked: ${answer.why}`,
    {
      hint: 'See that "systemd-analyze calendar daily" works (it comes with systemd); nothing was installed.',
    },
  );
}

/**
 * Rejects where the timer of that name runs a job of another configuration, which would never run again: the instance is the
 * job's name alone.
 */
async function requireUntaken(
  { job }: Schedule,
  facts: InstallFacts,
  { units }: ScheduleHost,
): Promise<void> {
  if (!(await units.jobs()).includes(job.name)) return;
  const other = configurationOf(await units.serviceDropIn(job.name));
  if (other === facts.configFile) return;
  throw usage(
    `${unitName(job.name, 'timer')} runs the job ${job.name} of ${other ?? DEFAULT_CONFIG_FILE}`,
    `A timer has the name of its job: rename one of the two, or end that one first: \`${suggested('schedule remove', [job.name])}\`.`,
  );
}

function requireBooted({ systemd }: ScheduleHost, hint: string, below: readonly string[] = []): void {
  if (systemd.isBooted()) return;
  throw new FsbackupError('failed', 'this system was not booted with systemd', { hint, below });
}

/**
 * Has timers that do not wait for their time forget when they last ran: what was missed since (they were removed for weeks, the
 * calendar was another one) systemd would make up for at once, in the middle of the day. It refuses that for one that waits, and
 * without D-Bus or before systemd 243 for all.
 */
async function forgetLast(timers: readonly string[], { systemd }: ScheduleHost): Promise<void> {
  for (const timer of timers)
    await systemd.systemctl('clean', '--what=state', '--', timer).catch((error: unknown) => {
      if (!(error instanceof FsbackupError)) throw error;
    });
}

/**
 * Has systemd run the jobs. Idempotent; a calendar that systemd does not know, and a job whose timer is that of another
 * configuration, is refused before anything is written.
 */
export async function installSchedules(
  schedules: readonly Schedule[],
  facts: InstallFacts,
  host: ScheduleHost,
): Promise<ScheduleChange> {
  const lines = schedules.flatMap((schedule) => crontabLines(schedule, facts));
  requireBooted(host, 'With cron, write this to /etc/cron.d/fsbackup:', lines);
  const { systemd, units } = host;
  for (const schedule of schedules) {
    await requireUntaken(schedule, facts, host);
    await requireCalendar(schedule, host);
  }
  const changed = await units.install(planInstall(schedules, facts));
  const timers = schedules.map(({ job }) => unitName(job.name, 'timer'));
  const moved = timers.filter((timer) => changed.some((name) => path.dirname(name) === `${timer}.d`));
  await systemd.systemctl('daemon-reload');
  await systemd.systemctl('enable', '--', ...timers);
  if (moved.length > 0) await systemd.systemctl('stop', '--', ...moved);
  await forgetLast(timers, host);
  // Not `enable --now`: a timer that runs would go on by its old calendar.
  await systemd.systemctl('restart', '--', ...timers);
  return { version: 1, timers, changed };
}

/** Ends the schedules of jobs; a run that goes on is left alone. Idempotent. Throws `usage` for what is no job's name. */
export async function removeSchedules(names: readonly string[], host: ScheduleHost): Promise<ScheduleChange> {
  const wrong = names.find((name) => !JOB_NAME_PATTERN.test(name));
  if (wrong !== undefined)
    throw usage(`"${wrong}" is not the name of a job`, 'See "fsbackup schedule status".');
  requireBooted(host, 'There is no schedule to remove; see to cron (/etc/cron.d/fsbackup, crontab -l).');
  const { systemd, units } = host;
  const before = await units.jobs();
  const timers = names.filter((name) => before.includes(name)).map((name) => unitName(name, 'timer'));
  if (timers.length > 0) await systemd.systemctl('disable', '--now', '--', ...timers);
  await forgetLast(timers, host);
  const changed = await units.remove(names.flatMap(dropInsOf));
  // The templates go with the last of the schedules.
  if ((await units.jobs()).length === 0) changed.push(...(await units.remove(TEMPLATES)));
  if (changed.length > 0) await systemd.systemctl('daemon-reload');
  return { version: 1, timers, changed };
}
