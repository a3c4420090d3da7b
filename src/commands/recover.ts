import { Flags } from '@oclif/core';
import { BaseCommand } from '../base-command.js';
import { jsonFlag } from '../flags.js';

export default class Recover extends BaseCommand {
  static override summary = 'Release what dead runs left: freezes, mounts, snapshots, incomplete backups.';
  static override description =
    'Touches only what the journal proves that fsbackup made, and nothing of a run that lives. Every run does this first; do it by hand when no run is due. With --forget, a snapshot of that run which cannot be removed, since no device of this host has the filesystem that it lies on, is not looked after any more; what is left is named. With --goes-on the same for the applications of that run whose `after` fails.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --forget 20261127T030405Z-1a2b3c',
    '<%= config.bin %> <%= command.id %> --goes-on 20261127T030405Z-1a2b3c',
  ];
  static override flags = {
    forget: Flags.string({
      summary: 'Forget what lies on storage that is gone for good, of this run.',
      helpValue: 'RUN_ID',
    }),
    'goes-on': Flags.string({
      summary: 'Its applications go on: forget those of this run that cannot be let go.',
      helpValue: 'RUN_ID',
      exclusive: ['forget'],
    }),
    json: jsonFlag,
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(Recover);
    const { recoverHost } = await import('../run/host.js');
    const { recoverExitCode } = await import('../journal/recover-report.js');
    const { renderRecover } = await import('../journal/render-recover.js');
    const report = await recoverHost({ forget: flags.forget, goesOn: flags['goes-on'] });
    if (flags.json) this.printJson(report);
    else this.print(renderRecover(report));
    const code = recoverExitCode(report, flags.forget ?? flags['goes-on']);
    if (code !== 0) this.exit(code);
  }
}
