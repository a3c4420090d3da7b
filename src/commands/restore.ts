import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../base-command.js';
import {
  backupDescription,
  configFlag,
  fromFlags,
  fromTarget,
  fromUsage,
  jsonFlag,
  logJsonFlag,
} from '../flags.js';

export default class Restore extends BaseCommand {
  static override summary = 'Restore a backup, or some paths of it, to a directory or to where things were.';
  static override description = `${backupDescription} With --to, /srv/x of the backup becomes DIR/srv/x. PATH is a path as it was on the live system, or a pattern of such: * and ? match no slash, ** any number of directories, [...] one character; a pattern without a slash at its beginning matches in any directory. Exits 41 when something could not be restored.`;
  static override examples = [
    '<%= config.bin %> <%= command.id %> srv --from /backup --to /tmp/restored',
    "<%= config.bin %> <%= command.id %> srv@2026-11-20 --to /tmp/restored /srv/www/index.html '/srv/**/*.conf'",
    '<%= config.bin %> <%= command.id %> srv --in-place /srv/www',
  ];
  static override usage = `restore BACKUP (--to DIR | --in-place) ${fromUsage} [--force] [--image] [--json] [--log-json] [PATH...]`;
  static override args = {
    backup: Args.string({ description: 'JOB[@WHICH]', required: true }),
    path: Args.string({
      description: 'Only these paths and patterns, as they were on the live system.',
      multiple: true,
    }),
  };
  static override flags = {
    to: Flags.string({
      summary:
        'The directory to restore to; made when it is not there. With --image: a block device, or a file.',
      helpValue: 'DIR',
    }),
    'in-place': Flags.boolean({
      summary: 'Restore to where things were: overwrite, never delete. Asks first, on a terminal.',
      exclusive: ['to'],
    }),
    ...fromFlags,
    config: configFlag,
    force: Flags.boolean({
      summary: 'Take a directory that is not empty (overwrite, never delete); do not ask (--in-place).',
    }),
    image: Flags.boolean({
      summary:
        'Of a backup by the engine image: write back the whole filesystem as it lay on its device. PATH names the source if there are several.',
      exclusive: ['in-place'],
    }),
    json: jsonFlag,
    'log-json': logJsonFlag,
  };

  async run(): Promise<void> {
    const { args, argv, flags } = await this.parse(Restore);
    const { chooseDestination } = await import('../copy/restore/choose-destination.js');
    const to = await chooseDestination({
      to: flags.to,
      inPlace: flags['in-place'],
      force: flags.force,
      logsJson: flags['log-json'],
    });
    const { pickBackup } = await import('../copy/backup/pick-backup.js');
    const { renderRestore } = await import('../copy/backup/render-backups.js');
    const { chooseReporter } = await import('../report/choose-reporter.js');
    const { createRestoreHost } = await import('../run/host.js');
    const { restoreJournalled } = await import('../run/restore-journalled.js');
    const { withSignals } = await import('../system/signals.js');

    const reporter = await chooseReporter({
      json: flags.json,
      logJson: flags['log-json'],
      quiet: false,
      isTTY: process.stderr.isTTY,
      env: process.env,
    });
    // The object on stdout has no place for what other restores left.
    const hasNoLines = flags.json && !flags['log-json'];
    const warn = (message: string): void => {
      if (hasNoLines) this.printWarning(message);
      else reporter.warn(message);
    };
    const where = { ...fromTarget(flags), configFile: flags.config };
    const { backup, doubt } = await pickBackup(args.backup, { ...where, mayBeBad: false, warn });
    const { job } = backup;
    const host = await createRestoreHost();
    const paths = argv.slice(1).map(String);
    const report = await withSignals(process, (signal) =>
      restoreJournalled(
        { job, backup, doubt, to, paths, isImage: flags.image, reporter, warn, signal },
        host,
      ),
    );
    if (flags.json) this.printJson(report);
    else this.print(renderRestore(report));
    if (report.exitCode !== 0) this.exit(report.exitCode);
  }
}
