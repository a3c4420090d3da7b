import { runAtMost } from './run-at-most.js';
import { describeFailure, type CommandResult } from './run-command.js';

/** A bound against hanging: it reads no unit and asks no manager. */
const TIMEOUT_MS = 30_000;

/** What systemd says of a calendar event (systemd.time(7)). */
export type CalendarAnswer =
  /** It knows it; `comesAgain` is false for one that lies in the past, or on no day at all. */
  | { kind: 'known'; comesAgain: boolean }
  /** It does not know it. */
  | { kind: 'refused' }
  /** Nobody could be asked; `why` is a clause. */
  | { kind: 'unasked'; why: string };

/** Asks whether systemd knows a calendar event. Never rejects for what the program does; needs no systemd that runs. */
export type ExamineCalendar = (calendar: string) => Promise<CalendarAnswer>;

/** Pure. What `systemd-analyze calendar` meant. Any failure that is not its parser's is no word on the event. */
export function readCalendarAnswer(result: CommandResult): CalendarAnswer {
  if (result.exitCode === 0) {
    return { kind: 'known', comesAgain: !/^\s*Next elapse: never$/m.test(result.stdout) };
  }
  const isParser = result.exitCode === 1 && /^Failed to parse calendar /m.test(result.stderr);
  return isParser
    ? { kind: 'refused' }
    : { kind: 'unasked', why: describeFailure('systemd-analyze', result) };
}

/** Asks `systemd-analyze` of this host. */
export const examineCalendar: ExamineCalendar = async (calendar) =>
  readCalendarAnswer(
    await runAtMost(['systemd-analyze', 'calendar', '--', calendar], {
      timeoutMs: TIMEOUT_MS,
      env: { SYSTEMD_PAGER: '', SYSTEMD_COLORS: '0' },
    }),
  );
