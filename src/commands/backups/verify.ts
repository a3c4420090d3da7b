import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../../base-command.js';
import type { CompleteBackup } from '../../copy/backup/backup-list.js';
import { worstExitCode } from '../../exit-codes.js';
import {
  backupDescription,
  configFlag,
  fromFlags,
  fromTarget,
  fromUsage,
  jsonFlag,
  logJsonFlag,
} from '../../flags.js';

export default class BackupsVerify extends BaseCommand {
  static override summary =
    'Verify backups: that all is there (quick), every byte of it (full), or by a restore (drill).';
  static override description = `${backupDescription} --quick, the default, checks the manifest and that every entry is there with its size (rsync), zstd's checksum of the archive (tar), or has the engine check its repository (restic, borg). --full reads every byte and compares it with the digests that were taken from the snapshot while it was copied, by restic and borg those that name its data; of an increment also those that it needs. --drill restores it to a directory of its own (0700), compares what came of that, runs the command that the job has for it, and removes it again. The result goes into the history. Exits 50 when a backup is not what it was, 3 when nothing is wrong and not all could be compared, or the history could not be written.`;
  static override examples = [
    '<%= config.bin %> <%= command.id %> srv',
    '<%= config.bin %> <%= command.id %> srv@2026-11-20 web --full --from /backup',
    '<%= config.bin %> <%= command.id %> srv --drill',
  ];
  static override usage = `backups verify BACKUP... [--quick | --full | --drill [--drill-directory DIR]] ${fromUsage} [--json] [--log-json]`;
  static override strict = false;
  static override args = { backup: Args.string({ description: 'JOB[@WHICH], one or more', required: true }) };
  static override flags = {
    quick: Flags.boolean({ summary: 'Read no more than is needed to see that all is there.' }),
    full: Flags.boolean({ summary: 'Read every byte back and compare it.', exclusive: ['quick'] }),
    drill: Flags.boolean({
      summary: 'Restore it, compare, run the command of the job, remove it.',
      exclusive: ['quick', 'full'],
    }),
    'drill-directory': Flags.string({
      summary: 'Where to restore to; else where the configuration says, else where there is room.',
      helpValue: 'DIR',
      dependsOn: ['drill'],
    }),
    ...fromFlags,
    config: configFlag,
    json: jsonFlag,
    'log-json': logJsonFlag,
  };

  async run(): Promise<void> {
    const { argv, flags } = await this.parse(BackupsVerify);
    const { targetsToSearch } = await import('../../copy/target/configured-targets.js');
    const { findBackup, parseSelector } = await import('../../copy/backup/backup-select.js');
    const { verifyBackups } = await import('../../copy/verify/verify-backups.js');
    const { renderVerify } = await import('../../copy/verify/render-verify.js');
    const { chooseReporter } = await import('../../report/choose-reporter.js');
    const { withSignals } = await import('../../system/signals.js');
    const warn = (message: string): void => this.printWarning(message);
    const where = { ...fromTarget(flags), configFile: flags.config };
    const backups: CompleteBackup[] = [];
    for (const selector of argv.map(String)) {
      const { job } = parseSelector(selector);
      const targets = await targetsToSearch({ ...where, job }, { warn });
      backups.push(await findBackup(targets, selector, warn));
    }
    const { isTTY } = process.stderr;
    const reporter = await chooseReporter({
      json: flags.json,
      logJson: flags['log-json'],
      quiet: false,
      isTTY,
      env: process.env,
    });
    const reports = await withSignals(process, async (signal) => {
      if (!flags.drill) {
        return await verifyBackups(backups, { mode: flags.full ? 'full' : 'quick', signal, reporter });
      }
      const { createRunHost } = await import('../../run/host.js');
      const { drillBackups } = await import('../../run/drill-backups.js');
      const { readDrillSettings } = await import('../../run/drill-settings.js');
      const settings = await readDrillSettings({ ...flags, directory: flags['drill-directory'] });
      return await drillBackups(backups, await createRunHost(), { settings, signal, reporter });
    });
    if (flags.json) this.printJson({ version: 1, verified: reports });
    else this.print(reports.map(renderVerify).join('\n'));
    const code = worstExitCode(reports.map((report) => report.exitCode));
    if (code !== 0) this.exit(code);
  }
}
