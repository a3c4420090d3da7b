import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../../base-command.js';
import { backupDescription, configFlag, fromFlags, fromTarget, fromUsage, jsonFlag } from '../../flags.js';
import { isWritten } from '../../process-guard.js';

export default class BackupsFiles extends BaseCommand {
  static override summary = 'List the files in a backup.';
  static override description = `${backupDescription} Paths are those of the live system; of a directory all that lies in it is listed. Patterns are those of restore, in quotes. Nothing is restored: of most engines the list of digests tells.`;
  static override examples = [
    '<%= config.bin %> <%= command.id %> srv --from /backup',
    "<%= config.bin %> <%= command.id %> srv@2026-11-20 /srv/www '*.conf'",
  ];
  static override usage = `backups files BACKUP [PATH...] ${fromUsage} [--null | --json]`;
  static override strict = false;
  static override args = { backup: Args.string({ description: 'JOB[@WHICH]', required: true }) };
  static override flags = {
    ...fromFlags,
    config: configFlag,
    null: Flags.boolean({
      summary: 'End each name with NUL, and write it as it is: for xargs -0.',
      exclusive: ['json'],
    }),
    json: jsonFlag,
  };

  async run(): Promise<void> {
    const { flags, argv } = await this.parse(BackupsFiles);
    const [selector = '', ...paths] = argv.map(String);
    const { pickBackup } = await import('../../copy/backup/pick-backup.js');
    const { entriesOf } = await import('../../copy/backup/backup-entries.js');
    const { listFiles, renderFiles } = await import('../../copy/backup/list-files.js');
    const { engineFor } = await import('../../copy/engines.js');
    const { targetName, targetOf } = await import('../../backup-target.js');
    const { withSignals } = await import('../../system/signals.js');
    const { backup } = await pickBackup(selector, {
      ...fromTarget(flags),
      configFile: flags.config,
      mayBeBad: true,
      warn: (message) => this.printWarning(message),
    });
    const { job, backupId } = backup;
    const target = targetOf(backup);
    await withSignals(process, async (signal) => {
      const engine = engineFor({ ...target, engine: backup.manifest.engine });
      const entries = listFiles((await entriesOf(backup, engine, signal))(), paths);
      const format = flags.json ? 'json' : flags.null ? 'null' : 'lines';
      const head = { job, backupId, target: targetName(target) };
      for await (const text of renderFiles(entries, format, head)) {
        signal.throwIfAborted();
        if (!(await isWritten(process.stdout, text)) || !process.stdout.writable) return;
      }
    });
  }
}
