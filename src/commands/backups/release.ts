import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../../base-command.js';
import { jsonFlag } from '../../flags.js';
import { durationFlag } from '../../freeze-flags.js';

export default class BackupsRelease extends BaseCommand {
  static override summary = 'Remove the snapshots that are kept for the next increments of a job.';
  static override description =
    'No backup is touched; the next one is a full one. `status` shows which snapshots are kept. For a job, or a target of it, that is not used any more.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> srv',
    '<%= config.bin %> <%= command.id %> srv --target /backup',
  ];
  static override args = { job: Args.string({ description: 'The job.', required: true }) };
  static override flags = {
    target: Flags.string({ summary: 'Only what is kept for this target.', helpValue: 'TARGET' }),
    'lock-wait': durationFlag('Wait so long for a run of the job to end.'),
    json: jsonFlag,
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(BackupsRelease);
    const { releaseBases } = await import('../../run/release-bases.js');
    const { createRunHost } = await import('../../run/host.js');
    const { withSignals } = await import('../../system/signals.js');
    const warn = (message: string): void => this.printWarning(message);
    const released = await withSignals(process, async (signal) =>
      releaseBases({ job: args.job, target: flags.target }, await createRunHost(), {
        lockWaitMs: flags['lock-wait'] ?? 0,
        signal,
        warn,
        onWait: (message) => this.printNote(message),
      }),
    );
    if (flags.json) this.printJson({ version: 1, released });
    else if (released.length === 0) this.printLines(`Nothing is kept for ${args.job}.`);
    for (const { job, target, snapshots } of flags.json ? [] : released)
      this.printLines(`${job}: ${snapshots.map(({ name }) => name).join(', ')}, kept for ${target}, removed`);
  }
}
