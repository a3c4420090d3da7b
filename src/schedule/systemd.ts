import { existsSync } from 'node:fs';
import { FsbackupError } from '../errors.js';
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
  /** Rejects with `usage` when that is no calendar event of systemd.time(7). */
  checkCalendar(calendar: string): Promise<void>;
}

async function ask(argv: [string, ...string[]]) {
  return await runAtMost(argv, { timeoutMs: TIMEOUT_MS, env: { SYSTEMD_PAGER: '', SYSTEMD_COLORS: '0' } });
}

/** That of this host. */
export const hostSystemd: Systemd = {
  isBooted: () => existsSync('/run/systemd/system'),

  async systemctl(...args) {
    const result = await ask(['systemctl', '--no-ask-password', ...args]);
    if (result.exitCode === 0) return result.stdout;
    throw new FsbackupError(
      'failed',
      `systemctl ${args[0] ?? ''} failed: ${describeFailure('systemctl', result)}`,
      { hint: 'Run it as root; "systemctl status" tells whether systemd answers.' },
    );
  },

  async checkCalendar(calendar) {
    const result = await ask(['systemd-analyze', 'calendar', '--', calendar]);
    if (result.exitCode === 0) return;
    throw new FsbackupError(
      'usage',
      `"${calendar}" is no calendar event: ${describeFailure('systemd-analyze', result)}`,
      { hint: 'Write for example daily, Mon..Fri 22:00 or *-*-* 02:30; see systemd.time(7).' },
    );
  },
};
