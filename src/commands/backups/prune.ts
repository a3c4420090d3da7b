import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../../base-command.js';
import { exitCode } from '../../exit-codes.js';
import { configFlag, fromFlags, fromTarget, fromUsage, jsonFlag } from '../../flags.js';
import { durationFlag } from '../../freeze-flags.js';
import { keepFlags, keepRules } from '../../keep-flags.js';

export default class BackupsPrune extends BaseCommand {
  static override summary = 'Remove the backups that no rule keeps.';
  static override description =
    'The rules are those of the configuration (`keep`), or these flags in their place. Each rule is applied by itself; hours, days, weeks, months and years are those of UTC. Never removed: the newest backup, the last good one, what a kept one needs, and what is incomplete, damaged or dated in the future. What a run that was broken off had copied stays for the next one, or until --interrupted, or, of this host, for 90 days. Exits 60 when something could not be removed, and 3 when a target is not there.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> --dry-run',
    '<%= config.bin %> <%= command.id %> srv --from /backup --keep-daily 7 --keep-weekly 4',
  ];
  static override usage = `backups prune [JOB...] ${fromUsage} [--keep-last N] [--keep-hourly N] [--keep-daily N] [--keep-weekly N] [--keep-monthly N] [--keep-yearly N] [--keep-within SPAN] [--interrupted] [--dry-run] [--lock-wait SECONDS] [--json]`;
  static override strict = false;
  static override args = { job: Args.string({ description: 'Only these jobs; none: all of them.' }) };
  static override flags = {
    ...fromFlags,
    config: configFlag,
    ...keepFlags,
    'dry-run': Flags.boolean({ summary: 'Say what stays and why, and remove nothing.', default: false }),
    interrupted: Flags.boolean({
      summary:
        'Remove what broken-off runs left for the next ones to go on from, too, of whatever host and age.',
      default: false,
    }),
    'lock-wait': durationFlag('Wait so long for a run of the job or to the target to end.'),
    json: jsonFlag,
  };

  async run(): Promise<void> {
    const { flags, argv } = await this.parse(BackupsPrune);
    const { selectPrune } = await import('../../run/select-prune.js');
    const { prune, previewPrune } = await import('../../run/prune.js');
    const { pruneReport, renderPrune } = await import('../../retention/render.js');
    const { withSignals } = await import('../../system/signals.js');
    const dryRun = flags['dry-run'];
    const warnings: string[] = [];
    const warn = (message: string): void => {
      warnings.push(message);
      this.printWarning(message);
    };
    const tasks = await selectPrune({
      names: argv.map(String),
      ...fromTarget(flags),
      configFile: flags.config,
      rules: keepRules(flags),
      withInterrupted: flags.interrupted,
      warn,
    });
    const results = dryRun
      ? await previewPrune(tasks, new Date())
      : await withSignals(process, async (signal) => {
          const { createRunHost } = await import('../../run/host.js');
          const onWait = (message: string): void => this.printNote(message);
          const options = { lockWaitMs: flags['lock-wait'] ?? 0, signal, warn, onWait };
          return await prune(tasks, await createRunHost(), options);
        });
    if (flags.json) this.printJson({ version: 1, dryRun, pruned: results.map(pruneReport), warnings });
    else this.print(renderPrune(results, dryRun));
    if (results.some(({ failed }) => failed.length > 0)) this.exit(exitCode('cleanupIncomplete'));
    if (warnings.length > 0) this.exit(exitCode('warnings'));
  }
}
