import { DEFAULT_CONFIG_FILE } from '../config/read-files.js';
import { configurationOf, unitName } from './unit-text.js';
import type { ScheduleHost } from './schedule-jobs.js';

/** A schedule as systemd has it. Times RFC 3339. */
export interface SystemdSchedule {
  job: string;
  timer: string;
  /** Whether it starts with the system. */
  enabled: boolean;
  /** Whether it waits for its time now. */
  active: boolean;
  next: string | null;
  last: string | null;
  /** Whether a run of it goes on. */
  running: boolean;
  /** How the last run of the unit ended, in systemd's word: `success`, `exit-code`, `timeout`, `signal`; null: none yet. */
  result: string | null;
  /** The exit code of the last run of the unit; null: none yet, or ended by a signal. */
  exitCode: number | null;
}

export interface ScheduleState extends SystemdSchedule {
  /** The configuration that its runs are by. */
  configFile: string;
}

export interface ScheduleStatus {
  version: 1;
  schedules: ScheduleState[];
}

/** `NAME=VALUE` lines of `systemctl show`. */
function parseProperties(text: string): ReadonlyMap<string, string> {
  return new Map(
    text.split('\n').map((line) => {
      const equals = line.indexOf('=');
      return [line.slice(0, equals), line.slice(equals + 1)] as const;
    }),
  );
}

/** What `systemctl list-timers --output=json` says of one. Microseconds since 1970; 0 or null: none. */
interface TimerTimes {
  unit: string;
  next: number | null;
  last: number | null;
}

function toTime(microseconds: number | null | undefined): string | null {
  return microseconds === undefined || microseconds === null || microseconds === 0
    ? null
    : new Date(microseconds / 1000).toISOString();
}

/** CLD_EXITED of waitid(2), as ExecMainCode says it. */
const EXITED = '1';

/** Pure. One schedule, from what systemctl prints: `show` of its timer and of its service, and `list-timers`. */
export function readSchedule(
  job: string,
  { timer: timerText, service: serviceText, timers }: { timer: string; service: string; timers: string },
): SystemdSchedule {
  const times = (JSON.parse(timers) as TimerTimes[]).find(({ unit }) => unit === unitName(job, 'timer'));
  const timer = parseProperties(timerText);
  const service = parseProperties(serviceText);
  const activeState = service.get('ActiveState');
  const running = activeState === 'activating' || activeState === 'deactivating';
  const code = service.get('ExecMainCode') ?? '0';
  const hasRun = !running && code !== '0';
  return {
    job,
    timer: unitName(job, 'timer'),
    enabled: timer.get('UnitFileState') === 'enabled',
    active: timer.get('ActiveState') === 'active',
    next: toTime(times?.next),
    last: toTime(times?.last),
    running,
    result: hasRun ? (service.get('Result') ?? null) : null,
    exitCode: hasRun && code === EXITED ? Number(service.get('ExecMainStatus')) : null,
  };
}

/** Pure. The jobs whose last run failed, by the unit's own judgement. */
export function failedJobs({ schedules }: ScheduleStatus): string[] {
  return schedules.filter(({ result }) => result !== null && result !== 'success').map(({ job }) => job);
}

const TIMER_PROPERTIES = 'UnitFileState,ActiveState';
const SERVICE_PROPERTIES = 'ActiveState,Result,ExecMainCode,ExecMainStatus';

/** All schedules, by the names of their jobs. Where systemd does not run there are none. */
export async function scheduleStatus({ systemd, units }: ScheduleHost): Promise<ScheduleStatus> {
  const schedules: ScheduleState[] = [];
  if (!systemd.isBooted()) return { version: 1, schedules };
  const show = (unit: string, properties: string): Promise<string> =>
    systemd.systemctl('show', `--property=${properties}`, '--', unit);
  // Beside `show`, since that tells the next time in words of the local time zone.
  const timers = await systemd.systemctl('list-timers', '--all', '--output=json', '--', 'fsbackup@*.timer');
  for (const job of await units.jobs()) {
    const timer = await show(unitName(job, 'timer'), TIMER_PROPERTIES);
    const service = await show(unitName(job, 'service'), SERVICE_PROPERTIES);
    const configFile = configurationOf(await units.serviceDropIn(job)) ?? DEFAULT_CONFIG_FILE;
    schedules.push({ ...readSchedule(job, { timer, service, timers }), configFile });
  }
  return { version: 1, schedules };
}
