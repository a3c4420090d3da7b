import type { ExamineCalendar } from '../system/calendar-event.js';
import { formatProblem, type ConfigProblem } from './problems.js';
import type { WrittenJob } from './written-jobs.js';

/** How the schedules of jobs are checked; effects at the edge. */
export interface CheckSchedules {
  examine: ExamineCalendar;
  /** Gets what is no mistake and should be known: a schedule that nobody could check, or that never comes again. */
  warn: (message: string) => void;
}

/** The schedules of these jobs that systemd does not know. */
export async function checkSchedules(
  jobs: readonly WrittenJob[],
  { examine, warn }: CheckSchedules,
): Promise<ConfigProblem[]> {
  const problems: ConfigProblem[] = [];
  for (const { name, raw, file } of jobs) {
    const { schedule } = raw;
    if (schedule === undefined) continue;
    const place = (message: string): ConfigProblem =>
      file.locate({ path: ['jobs', name, 'schedule'], message, at: 'value' });
    const answer = await examine(schedule);
    if (answer.kind === 'refused') {
      const message = `systemd knows no calendar event "${schedule}": write for example daily, or *-*-* 02:30; see systemd.time(7)`;
      problems.push(place(message));
    } else if (answer.kind === 'unasked') {
      const message = `whether systemd knows the calendar event "${schedule}" was not checked: ${answer.why}`;
      warn(formatProblem(place(message)));
    } else if (!answer.comesAgain) {
      warn(formatProblem(place(`the calendar event "${schedule}" never comes again`)));
    }
  }
  return problems;
}
