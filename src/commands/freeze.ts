import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../base-command.js';
import { jsonFlag } from '../flags.js';
import { freezeFlags, freezeOverrides } from '../freeze-flags.js';
import { FsbackupError } from '../errors.js';
import { isWritten } from '../process-guard.js';
import { asJson, asLines } from '../report/controls.js';

export default class Freeze extends BaseCommand {
  static override summary =
    'Freeze filesystems until they are thawed, the timeout passes, or a command ends.';
  static override description =
    'Returns when all are frozen, or none is. A watchdog then thaws them when no reset came within the timeout, and "reset" and "thaw" exit 21 if it had to. With -- CMD they are held while CMD runs, and thawed when it ends.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> --timeout 10 /srv',
    '<%= config.bin %> <%= command.id %> /srv -- my-array-snapshot --volume srv',
  ];
  static override usage =
    'freeze MOUNTPOINT... [--timeout SECONDS] [--max-hold SECONDS] [--no-timeout] [--force] [--json] [-- CMD...]';
  static override strict = false;
  static override args = {
    mountpoint: Args.string({ required: true, description: 'Where the filesystem is mounted.' }),
  };
  static override flags = {
    ...freezeFlags,
    force: Flags.boolean({ default: false, summary: 'Freeze also what fsbackup or the machine may need.' }),
    json: jsonFlag,
  };

  async run(): Promise<void> {
    const separator = this.argv.indexOf('--');
    const own = separator === -1 ? this.argv : this.argv.slice(0, separator);
    // Taken before the parse, which changes this.argv.
    const [program, ...args] = separator === -1 ? [] : this.argv.slice(separator + 1);
    const { flags, argv } = await this.parse(Freeze, own);
    if (separator !== -1 && program === undefined) {
      throw new FsbackupError('usage', 'no command after --', {
        hint: 'Name the command to run, or leave out the --.',
      });
    }
    const { findFreezeTargets } = await import('../freeze/freeze-targets.js');
    const { freezeFromFlags } = await import('../config/freeze-from-flags.js');
    const { readHungTaskTimeoutMs } = await import('../system/hung-task.js');
    const settings = freezeFromFlags(freezeOverrides(flags), {
      env: process.env,
      hungTaskTimeoutMs: await readHungTaskTimeoutMs(),
    });
    const targets = await findFreezeTargets(argv.map(String), { force: flags.force });
    const warn = (message: string): void => this.printWarning(message);
    if (program !== undefined) {
      const { freezeAroundCommand } = await import('../freeze/freeze-around-command.js');
      const host = { signals: process, searchPath: process.env['PATH'] ?? '', warn };
      const held = await freezeAroundCommand(targets, settings, [program, ...args], host);
      if (held.problem !== undefined) this.printError([held.problem.message, held.problem.hint]);
      return this.exit(held.exitCode);
    }
    const { freezeDetached } = await import('../freeze/freeze-by-hand.js');
    const { describeFrozen } = await import('../freeze/describe-frozen.js');
    await freezeDetached(targets, settings, {
      signals: process,
      tell: async (frozen) => {
        const report = describeFrozen(targets, settings, frozen, Date.now());
        if (!flags.json) for (const warning of report.warnings) warn(warning);
        const said = flags.json ? asJson(report.json, 2) : asLines([report.text]);
        return await isWritten(process.stdout, `${said}\n`);
      },
    });
  }
}
