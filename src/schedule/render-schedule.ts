import type { ScheduleChange } from './schedule-jobs.js';
import type { ScheduleState, ScheduleStatus } from './schedule-status.js';

/** What `schedule install` and `remove` show to people. */
export function renderChange({ timers, changed }: ScheduleChange, done: 'Scheduled' | 'Removed'): string {
  if (timers.length + changed.length === 0) return 'Nothing of that was scheduled.';
  const what = timers.length === 0 ? 'no timer' : timers.join(', ');
  const files = changed.length === 0 ? ' (no file changed)' : '';
  const next = done === 'Scheduled' ? '\nWhen it runs next: fsbackup schedule status' : '';
  return `${done}: ${what}${files}${next}`;
}

function lastRun({ running, result, exitCode }: ScheduleState): string {
  if (running) return 'running now';
  if (result === null) return 'not run since the system started';
  return `last run: ${result}${exitCode === null ? '' : ` (exit ${exitCode})`}`;
}

function scheduleLine(state: ScheduleState, configFile: string): string {
  const when = !state.active
    ? `NOT ACTIVE: run "systemctl start ${state.timer}"`
    : (state.next ?? 'no next time');
  const boot = state.enabled ? '' : `, NOT ENABLED: run "systemctl enable ${state.timer}"`;
  const whose = state.configFile === configFile ? '' : `, BY ANOTHER CONFIGURATION: ${state.configFile}`;
  return `  ${state.job}: next ${when}${boot}; ${lastRun(state)}${whose}`;
}

/** What `schedule status` shows to people who ask for a configuration. */
export function renderScheduleStatus({ schedules }: ScheduleStatus, configFile: string): string {
  if (schedules.length === 0) return 'Scheduled: nothing';
  return ['Scheduled:', ...schedules.map((state) => scheduleLine(state, configFile))].join('\n');
}
