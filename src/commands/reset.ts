import { Args } from '@oclif/core';
import { BaseCommand } from '../base-command.js';
import { FsbackupError, messageOf } from '../errors.js';
import { exitCode, worstExitCode } from '../exit-codes.js';
import { jsonFlag } from '../flags.js';
import { freezeFlags, freezeIdFlag, freezeOverrides } from '../freeze-flags.js';

function exitCodeOf(error: unknown): number {
  return error instanceof FsbackupError ? error.exitCode : exitCode('bug');
}

export default class Reset extends BaseCommand {
  static override summary = 'Prove that filesystems are still frozen, and start their timeout anew.';
  static override description =
    'Exits 21 when the freeze was lost meanwhile, so that the snapshot taken under it is bad. The longest hold (--max-hold of the freeze) stays. Of several each is tried, whatever became of the others.';
  static override examples = ['<%= config.bin %> <%= command.id %> --timeout 10 /srv'];
  static override usage = 'reset MOUNTPOINT... [--freeze ID] [--timeout SECONDS] [--no-timeout] [--json]';
  static override strict = false;
  static override args = {
    mountpoint: Args.string({ required: true, description: 'Where the filesystem is mounted.' }),
  };
  static override flags = {
    freeze: freezeIdFlag(),
    timeout: freezeFlags.timeout,
    'no-timeout': freezeFlags['no-timeout'],
    json: jsonFlag,
  };

  async run(): Promise<void> {
    const { flags, argv } = await this.parse(Reset);
    const { resetTimeoutMs } = await import('../config/freeze-from-flags.js');
    const { resetByHand } = await import('../freeze/release-by-hand.js');
    const timeoutMs = resetTimeoutMs(freezeOverrides(flags), process.env);
    const reset = [];
    const failures: unknown[] = [];
    for (const mountpoint of argv.map(String)) {
      try {
        const { expiresInMs } = await resetByHand({ path: mountpoint, freezeId: flags.freeze }, timeoutMs);
        reset.push({ mountpoint, expiresAt: new Date(Date.now() + expiresInMs).toISOString() });
        if (!flags.json)
          this.printLines(
            `Still frozen: ${mountpoint}. Thawed by itself in ${(expiresInMs / 1000).toFixed(1)} s.`,
          );
      } catch (error) {
        failures.push(error);
      }
    }
    // As `thaw` tells them: what is held still is told beside what is not.
    if (failures.length === 1 && reset.length === 0) throw failures[0];
    for (const error of failures)
      this.printError(error instanceof FsbackupError ? error.lines : [messageOf(error)]);
    if (flags.json) this.printJson({ version: 1, reset, errors: failures.map(messageOf) });
    if (failures.length > 0) this.exit(worstExitCode(failures.map(exitCodeOf)));
  }
}
