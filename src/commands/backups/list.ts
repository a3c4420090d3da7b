import { Args } from '@oclif/core';
import { BaseCommand } from '../../base-command.js';
import type { Backup, UnreadableJob } from '../../copy/backup/backup-list.js';
import type { AbsentTarget } from '../../copy/target/configured-targets.js';
import type { InterruptedBackup } from '../../copy/backup/interrupted-backup.js';
import { exitCode } from '../../exit-codes.js';
import { configFlag, fromFlags, fromTarget, fromUsage, jsonFlag } from '../../flags.js';

export default class BackupsList extends BaseCommand {
  static override summary = 'List the backups in a target, incomplete and damaged ones too.';
  static override description =
    'Exits 3 when a target is not there, or cannot be asked: what it holds is then not listed, or as this host remembers it.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> srv --from /backup --json',
  ];
  static override usage = `backups list [JOB] ${fromUsage} [--json]`;
  static override args = { job: Args.string({ description: 'Only the backups of this job.' }) };
  static override flags = { ...fromFlags, config: configFlag, json: jsonFlag };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(BackupsList);
    const { requireConfiguredJob, targetsToSearch } = await import('../../copy/target/configured-targets.js');
    const { inOrder, listBackups } = await import('../../copy/backup/backup-list.js');
    const { targetAt } = await import('../../copy/repository/catalogue.js');
    const { targetName, targetOf } = await import('../../backup-target.js');
    const { readVerifications } = await import('../../copy/verify/verify-history.js');
    const { readMountPlaces } = await import('../../copy/mount/mount-records.js');
    const { listInterrupted } = await import('../../copy/backup/interrupted-backup.js');
    const { listedBackup, renderBackupList } = await import('../../copy/backup/render-backups.js');
    const absent = new Map<string, AbsentTarget>();
    const catalogued = new Set<string>();
    const targets = await targetsToSearch(
      { ...fromTarget(flags), configFile: flags.config, job: args.job },
      {
        warn: (message) => this.printWarning(message),
        onAbsent: (one) => void absent.set(one.target, one),
        onCatalogue: (target) => void catalogued.add(target),
      },
    );
    const byTarget = new Map<string, Backup[]>();
    const interrupted = new Map<string, InterruptedBackup[]>();
    const unreadable: UnreadableJob[] = [];
    const isWanted = ({ job }: { job: string }): boolean => args.job === undefined || job === args.job;
    for (const target of targets) {
      const name = targetName(await targetAt(target));
      const listed = listBackups(target, (one) => {
        if (isWanted(one)) unreadable.push(one);
      }).catch((error: unknown) => {
        // That it is not there is told, and keeps nobody from those that are.
        if (absent.has(name)) return [];
        throw error;
      });
      const backups = (await listed).filter(isWanted);
      // What a repository itself tells comes from another directory than its catalogue.
      byTarget.set(name, inOrder([...(byTarget.get(name) ?? []), ...backups]));
      const brokenOff = (await listInterrupted(target)).filter(isWanted);
      interrupted.set(name, [
        ...(interrupted.get(name) ?? []),
        ...brokenOff.map((one) => ({ ...one, target: name })),
      ]);
    }
    const all = [...byTarget.values()].flat();
    const isNothing =
      all.length + absent.size + unreadable.length + [...interrupted.values()].flat().length === 0;
    if (args.job !== undefined && flags.from === undefined && isNothing)
      await requireConfiguredJob(args.job, flags.config);
    const known = {
      verifications: await readVerifications(
        all.map(({ job }) => job),
        all.map((backup) => targetOf(backup)),
      ),
      mountPlaces: await readMountPlaces(targets),
      absent,
      catalogued,
    };
    if (flags.json) {
      this.printJson({
        version: 1,
        backups: all.map((backup) => listedBackup(backup, known)),
        interrupted: [...interrupted.values()].flat(),
        ...(absent.size === 0 ? {} : { absent: [...absent.values()] }),
        ...(unreadable.length === 0 ? {} : { unreadable }),
      });
    } else this.print(renderBackupList(byTarget, known, { interrupted, unreadable }));
    if (absent.size + unreadable.length > 0) this.exit(exitCode('warnings'));
  }
}
