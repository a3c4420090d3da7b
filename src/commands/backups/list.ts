import { Args } from '@oclif/core';
import { BaseCommand } from '../../base-command.js';
import { configFlag, fromFlags, fromTarget, jsonFlag } from '../../flags.js';

export default class BackupsList extends BaseCommand {
  static override summary = 'List the backups in a target, incomplete and damaged ones too.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> srv --from /backup --json',
  ];
  static override args = { job: Args.string({ description: 'Only the backups of this job.' }) };
  static override flags = { ...fromFlags, config: configFlag, json: jsonFlag };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(BackupsList);
    const { targetsToSearch } = await import('../../copy/configured-targets.js');
    const { listBackups } = await import('../../copy/backup-list.js');
    const { targetAt } = await import('../../copy/catalogue.js');
    const { targetName } = await import('../../backup-target.js');
    const { readVerifications } = await import('../../copy/verify-history.js');
    const { listedBackup, renderBackupList } = await import('../../copy/render-backups.js');
    const targets = await targetsToSearch({ ...fromTarget(flags), configFile: flags.config, job: args.job });
    const byTarget = new Map(
      await Promise.all(
        targets.map(async (target) => {
          const backups = await listBackups(target);
          return [
            targetName(await targetAt(target)),
            backups.filter(({ job }) => args.job === undefined || job === args.job),
          ] as const;
        }),
      ),
    );
    const all = [...byTarget.values()].flat();
    const verifications = await readVerifications(all.map(({ job }) => job));
    if (flags.json) {
      this.printJson({ version: 1, backups: all.map((backup) => listedBackup(backup, verifications)) });
    } else this.print(renderBackupList(byTarget, verifications));
  }
}
