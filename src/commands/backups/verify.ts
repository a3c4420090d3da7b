import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../../base-command.js';
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
  static override description = `${backupDescription} --quick, the default, checks the manifest and that every entry is there with its size (rsync), zstd's checksum of the archive (tar), or has the engine check its repository (restic, borg). --full reads every byte and compares it with the digests that were taken from the snapshot while it was copied, by restic and borg those that name its data; of an increment also those that it needs. --drill restores it to a directory of its own (0700), compares what came of that, runs the command that the job has for it, and removes it again. The result goes into the history. One that is bad, or cannot be looked at, keeps the others from nothing; the exit code is the worst. Exits 50 when a backup is not what it was, 3 when nothing is wrong and not all could be compared, or the history could not be written.`;
  static override examples = [
    '<%= config.bin %> <%= command.id %> srv',
    '<%= config.bin %> <%= command.id %> srv@2026-11-20 web --full --from /backup',
    '<%= config.bin %> <%= command.id %> srv --drill',
    '<%= config.bin %> <%= command.id %> --full --all-targets --quiet',
  ];
  static override usage = `backups verify [BACKUP...] [--quick | --full | --drill [--drill-directory DIR]] [--all-targets] ${fromUsage} [--quiet] [--json] [--log-json]`;
  static override strict = false;
  static override args = {
    backup: Args.string({ description: 'JOB[@WHICH], one or more; none: the newest of every job.' }),
  };
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
    'all-targets': Flags.boolean({
      summary: 'The copy in each target of the configuration, not in the first that has it.',
      exclusive: ['from'],
      default: false,
    }),
    ...fromFlags,
    config: configFlag,
    quiet: Flags.boolean({ summary: 'Say nothing unless something is wrong.', default: false }),
    json: jsonFlag,
    'log-json': logJsonFlag,
  };

  async run(): Promise<void> {
    const { argv, flags } = await this.parse(BackupsVerify);
    const { askedBackups } = await import('../../copy/verify/asked-backups.js');
    const { verifyBackups } = await import('../../copy/verify/verify-backups.js');
    const { renderVerify } = await import('../../copy/verify/render-verify.js');
    const { chooseReporter } = await import('../../report/choose-reporter.js');
    const { withSignals } = await import('../../system/signals.js');
    const { isTTY } = process.stderr;
    const reporter = await chooseReporter({
      json: flags.json,
      logJson: flags['log-json'],
      quiet: flags.quiet,
      isTTY,
      env: process.env,
    });
    const reports = await withSignals(process, async (signal) => {
      const backups = askedBackups({
        ...fromTarget(flags),
        configFile: flags.config,
        selectors: argv.map(String),
        allTargets: flags['all-targets'],
        warn: (message) => this.printWarning(message),
        signal,
      });
      if (!flags.drill) {
        return await verifyBackups(backups, { mode: flags.full ? 'full' : 'quick', signal, reporter });
      }
      const { createRunHost } = await import('../../run/host.js');
      const { drillBackups } = await import('../../run/drill-backups.js');
      const { readDrillSettings } = await import('../../run/drill-settings.js');
      const settings = await readDrillSettings({ ...flags, directory: flags['drill-directory'] });
      return await drillBackups(backups, await createRunHost(), { settings, signal, reporter });
    });
    const bad = reports.filter((report) => report.exitCode !== 0);
    if (flags.json) this.printJson({ version: 1, verified: reports });
    else if (!flags.quiet) this.print(reports.map(renderVerify).join('\n'));
    else if (bad.length > 0) this.printAside(bad.map(renderVerify).join('\n'));
    const code = worstExitCode(reports.map((report) => report.exitCode));
    if (code !== 0) this.exit(code);
  }
}
