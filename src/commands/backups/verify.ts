import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../../base-command.js';
import type { CompleteBackup } from '../../copy/backup-list.js';
import { worstExitCode } from '../../exit-codes.js';
import { backupDescription, configFlag, fromFlags, fromTarget, jsonFlag } from '../../flags.js';

export default class BackupsVerify extends BaseCommand {
  static override summary = 'Verify backups: that all is there (quick), or every byte of it (full).';
  static override description = `${backupDescription} --quick, the default, checks the manifest and that every entry is there with its size (rsync), zstd's checksum of the archive (tar), or has the engine check its repository (restic, borg). --full reads every byte and compares it with the digests that were taken from the snapshot while it was copied, by restic and borg those that name its data. The result goes into the history. Exits 50 when a backup is not what it was, 3 when nothing is wrong and not all could be compared.`;
  static override examples = [
    '<%= config.bin %> <%= command.id %> srv',
    '<%= config.bin %> <%= command.id %> srv@2026-11-20 web --full --from /backup',
  ];
  static override strict = false;
  static override args = { backup: Args.string({ description: 'JOB[@WHICH], one or more', required: true }) };
  static override flags = {
    quick: Flags.boolean({ summary: 'Read no more than is needed to see that all is there.' }),
    full: Flags.boolean({ summary: 'Read every byte back and compare it.', exclusive: ['quick'] }),
    ...fromFlags,
    config: configFlag,
    json: jsonFlag,
  };

  async run(): Promise<void> {
    const { argv, flags } = await this.parse(BackupsVerify);
    const { targetsToSearch } = await import('../../copy/configured-targets.js');
    const { findBackup, parseSelector } = await import('../../copy/backup-select.js');
    const { verifyBackups } = await import('../../copy/verify-backups.js');
    const { renderVerify } = await import('../../copy/render-verify.js');
    const { chooseReporter } = await import('../../report/choose-reporter.js');
    const { withSignals } = await import('../../system/signals.js');
    const backups: CompleteBackup[] = [];
    for (const selector of argv.map(String)) {
      const { job } = parseSelector(selector);
      const targets = await targetsToSearch({ ...fromTarget(flags), configFile: flags.config, job });
      backups.push(await findBackup(targets, selector));
    }
    const { isTTY } = process.stderr;
    const reporter = await chooseReporter({ json: flags.json, quiet: false, isTTY, env: process.env });
    const mode = flags.full ? 'full' : 'quick';
    const reports = await withSignals(process, (signal) =>
      verifyBackups(backups, { mode, signal, reporter }),
    );
    if (flags.json) this.printJson({ version: 1, verified: reports });
    else this.print(reports.map(renderVerify).join('\n'));
    const code = worstExitCode(reports.map((report) => report.exitCode));
    if (code !== 0) this.exit(code);
  }
}
