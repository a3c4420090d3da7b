import path from 'node:path';
import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../base-command.js';
import { FsbackupError } from '../errors.js';
import { backupDescription, configFlag, fromFlags, fromTarget, jsonFlag } from '../flags.js';

export default class Restore extends BaseCommand {
  static override summary = 'Restore a backup, or some paths of it, to a directory.';
  static override description = `${backupDescription} /srv/x of the backup becomes DIR/srv/x. Exits 41 when something could not be restored.`;
  static override examples = [
    '<%= config.bin %> <%= command.id %> srv --from /backup --to /tmp/restored',
    '<%= config.bin %> <%= command.id %> srv@2026-11-20 --to /tmp/restored /srv/www/index.html',
    '<%= config.bin %> <%= command.id %> srv --to / --force /srv/www',
  ];
  static override usage =
    'restore BACKUP --to DIR [--from DIR] [--config FILE] [--force] [--image] [--json] [PATH...]';
  static override args = {
    backup: Args.string({ description: 'JOB[@WHICH]', required: true }),
    path: Args.string({ description: 'Only these paths, as they were on the live system.', multiple: true }),
  };
  static override flags = {
    to: Flags.string({
      summary:
        'The directory to restore to; made when it is not there. With --image: a block device, or a file.',
      helpValue: 'DIR',
      required: true,
    }),
    ...fromFlags,
    config: configFlag,
    force: Flags.boolean({ summary: 'Take a directory that is not empty: overwrite, never delete.' }),
    image: Flags.boolean({
      summary:
        'Of a backup by the engine image: write back the whole filesystem as it lay on its device. PATH names the source if there are several.',
    }),
    json: jsonFlag,
  };

  async run(): Promise<void> {
    const { args, argv, flags } = await this.parse(Restore);
    if (flags.to === '') {
      throw new FsbackupError('usage', '--to names no directory', {
        hint: 'Name the directory to restore to; an unset shell variable may be why it is empty.',
      });
    }
    const { targetsToSearch } = await import('../copy/configured-targets.js');
    const { findBackup, parseSelector } = await import('../copy/backup-select.js');
    const { engineFor } = await import('../copy/engines.js');
    const { targetOf } = await import('../backup-target.js');
    const { restoreBackup } = await import('../copy/restore-backup.js');
    const { renderRestore } = await import('../copy/render-backups.js');
    const { chooseReporter } = await import('../report/choose-reporter.js');
    const { withReportedStep } = await import('../copy/reported-step.js');
    const { withSignals } = await import('../system/signals.js');

    const { job } = parseSelector(args.backup);
    const targets = await targetsToSearch({ ...fromTarget(flags), configFile: flags.config, job });
    const backup = await findBackup(targets, args.backup);
    const reporter = await chooseReporter({
      json: flags.json,
      quiet: false,
      isTTY: process.stderr.isTTY,
      env: process.env,
    });
    const { restoreImage } = await import('../copy/restore-image.js');
    const report = await withSignals(process, (signal) =>
      (flags.image ? restoreImage : restoreBackup)({
        backup,
        destination: path.resolve(flags.to),
        paths: argv.slice(1).map(String),
        force: flags.force,
        engine: engineFor({ ...targetOf(backup), engine: backup.manifest.engine }),
        signal,
        onProgress: (progress) => reporter.progress(progress),
        asStep: (work) => {
          reporter.jobStarted(`${job}@${backup.backupId}`);
          return withReportedStep(reporter, 'restore', work);
        },
      }),
    );
    if (flags.json) this.printJson(report);
    else this.print(renderRestore(report));
    if (report.exitCode !== 0) this.exit(report.exitCode);
  }
}
