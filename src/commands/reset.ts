import { Args } from '@oclif/core';
import { BaseCommand } from '../base-command.js';
import { jsonFlag } from '../flags.js';
import { freezeFlags, freezeOverrides } from '../freeze-flags.js';

export default class Reset extends BaseCommand {
  static override summary = 'Prove that filesystems are still frozen, and start their timeout anew.';
  static override description =
    'Exits 21 when the freeze was lost meanwhile, so that the snapshot taken under it is bad. The longest hold (--max-hold of the freeze) stays.';
  static override examples = ['<%= config.bin %> <%= command.id %> --timeout 10 /srv'];
  static override usage = 'reset MOUNTPOINT... [--timeout SECONDS] [--no-timeout] [--json]';
  static override strict = false;
  static override args = {
    mountpoint: Args.string({ required: true, description: 'Where the filesystem is mounted.' }),
  };
  static override flags = {
    timeout: freezeFlags.timeout,
    'no-timeout': freezeFlags['no-timeout'],
    json: jsonFlag,
  };

  async run(): Promise<void> {
    const { flags, argv } = await this.parse(Reset);
    const { resetTimeoutMs } = await import('../config/freeze-from-flags.js');
    const { resetByHand } = await import('../freeze/release-by-hand.js');
    const timeoutMs = resetTimeoutMs(freezeOverrides(flags), process.env);
    const reset = [];
    for (const mountpoint of argv.map(String)) {
      const { expiresInMs } = await resetByHand(mountpoint, timeoutMs);
      reset.push({ mountpoint, expiresAt: new Date(Date.now() + expiresInMs).toISOString() });
      if (!flags.json)
        this.printLines(
          `Still frozen: ${mountpoint}. Thawed by itself in ${(expiresInMs / 1000).toFixed(1)} s.`,
        );
    }
    if (flags.json) this.printJson({ version: 1, reset });
  }
}
