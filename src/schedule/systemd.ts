import { existsSync } from 'node:fs';
import { FsbackupError } from '../errors.js';
import { examineCalendar, type ExamineCalendar } from '../system/calendar-event.js';
import { runAtMost } from '../system/run-at-most.js';
import { describeFailure } from '../system/run-command.js';

/** A bound against hanging: a manager that loads its units again answers late. */
const TIMEOUT_MS = 90_000;

/** The service manager, as `schedule` uses it. */
export interface Systemd {
  /** Whether it is what this system was booted with (sd_booted(3)). */
  isBooted(): boolean;
  /** Runs systemctl; what it printed. Rejects with `failed`. */
  systemctl(...args: string[]): Promise<string>;
  examineCalendar: ExamineCalendar;
}

/** That of this host. */
export const hostSystemd: Systemd = {
  isBooted: () => existsSync('/run/systemd/system'),

  async systemctl(...args) {
    const result = await runAtMost(['systemctl', '--no-ask-password', ...args], {
      timeoutMs: TIMEOUT_MS,
      env: { SYSTEMD_PAGER: '', SYSTEMD_COLORS: '0' },
    });
    if (result.exitCode === 0) return result.stdout;
    throw new FsbackupError(
      'failed',
      `systemctl ${args[0] ?? ''} failed: ${describeFailure('systemctl', result)}`,
      { hint: 'Run it as root; "systemctl status" tells whether systemd answers.' },
    );
  },

  examineCalendar,
};
