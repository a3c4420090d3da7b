import { Args } from '@oclif/core';
import { BaseCommand } from '../../base-command.js';
import { backupDescription, configFlag, fromFlags, fromTarget, fromUsage, jsonFlag } from '../../flags.js';

export default class BackupsShow extends BaseCommand {
  static override summary = 'Show one backup: what it holds, how it was made, how consistent it is.';
  static override description = backupDescription;
  static override examples = [
    '<%= config.bin %> <%= command.id %> srv --from /backup',
    '<%= config.bin %> <%= command.id %> srv@2026-11-20 --json',
  ];
  static override usage = `backups show BACKUP ${fromUsage} [--json]`;
  static override args = { backup: Args.string({ description: 'JOB[@WHICH]', required: true }) };
  static override flags = { ...fromFlags, config: configFlag, json: jsonFlag };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(BackupsShow);
    const { targetsToSearch } = await import('../../copy/target/configured-targets.js');
    const { findBackup, parseSelector } = await import('../../copy/backup/backup-select.js');
    const { backupDirectory } = await import('../../copy/backup/backup-layout.js');
    const { targetName, targetOf } = await import('../../backup-target.js');
    const { readVerifications } = await import('../../copy/verify/verify-history.js');
    const { renderBackup, verifiedOf } = await import('../../copy/backup/render-backups.js');
    const { job } = parseSelector(args.backup);
    const warn = (message: string): void => this.printWarning(message);
    const where = { ...fromTarget(flags), configFile: flags.config, job };
    const targets = await targetsToSearch(where, { warn });
    const backup = await findBackup(targets, args.backup, warn);
    const target = targetOf(backup);
    const verified = (await readVerifications([job], [target])).of(backup);
    const place = target.repository === undefined ? backupDirectory(backup) : targetName(target);
    if (flags.json) {
      this.printJson({
        ...backup.manifest,
        target: targetName(targetOf(backup)),
        verified: verifiedOf(verified),
      });
    } else this.print(renderBackup(backup, place, verified));
  }
}
