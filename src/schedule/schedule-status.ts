import { unitName } from './unit-text.js';
import type { ScheduleHost } from './schedule-jobs.js';

/** A schedule as systemd has it. Times RFC 3339. */
export interface ScheduleState {
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

/** A time as `--timestamp=unix` has it, `@SECONDS`; empty or `n/a` where there is none. */
function parseTime(text: string | undefined): string | null {
  const seconds = Number(/^@(\d+)/.exec(text ?? '')?.[1] ?? 0);
  return seconds === 0 ? null : new Date(seconds * 1000).toISOString();
}

/** CLD_EXITED of waitid(2), as ExecMainCode says it. */
const EXITED = '1';

/** Pure. One schedule, from what `systemctl show` prints of its timer and of its service. */
export function readSchedule(job: string, timerText: string, serviceText: string): ScheduleState {
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
    next: parseTime(timer.get('NextElapseUSecRealtime')),
    last: parseTime(timer.get('LastTriggerUSec')),
    running,
    result: hasRun ? (service.get('Result') ?? null) : null,
    exitCode: hasRun && code === EXITED ? Number(service.get('ExecMainStatus')) : null,
  };
}

const TIMER_PROPERTIES = 'UnitFileState,ActiveState,NextElapseUSecRealtime,LastTriggerUSec';
const SERVICE_PROPERTIES = 'ActiveState,Result,ExecMainCode,ExecMainStatus';

/** All schedules, by the names of their jobs. Where systemd does not run there are none. */
export async function scheduleStatus({ systemd, units }: ScheduleHost): Promise<ScheduleStatus> {
  const schedules: ScheduleState[] = [];
  if (!systemd.isBooted()) return { version: 1, schedules };
  const show = (unit: string, properties: string): Promise<string> =>
    systemd.systemctl('show', '--timestamp=unix', `--property=${properties}`, '--', unit);
  for (const job of await units.jobs()) {
    const timer = await show(unitName(job, 'timer'), TIMER_PROPERTIES);
    const service = await show(unitName(job, 'service'), SERVICE_PROPERTIES);
    schedules.push(readSchedule(job, timer, service));
  }
  return { version: 1, schedules };
}
