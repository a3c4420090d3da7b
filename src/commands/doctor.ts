import { Args } from '@oclif/core';
import { BaseCommand } from '../base-command.js';
import { configFlag, jsonFlag } from '../flags.js';

export default class Doctor extends BaseCommand {
  static override summary = 'Show whether this host can make safe backups, and what to mend.';
  static override description =
    'Without a mountpoint it looks at the sources of the configuration, or at all that is mounted. Exits 0 when all is well, 3 with warnings, 1 with problems. Freezes nothing but a filesystem of its own, in memory, and writes to nothing but its directory in /run.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> /srv --json',
  ];
  static override usage = 'doctor [MOUNTPOINT...] [--config FILE] [--json]';
  static override strict = false;
  static override args = {
    mountpoint: Args.string({
      description: 'A filesystem to look at: its mountpoint, or a directory on it.',
    }),
  };
  static override flags = { config: configFlag, json: jsonFlag };

  // It tells what is wrong with them.
  protected override readonly believesState = false;

  async run(): Promise<void> {
    const { flags, argv } = await this.parse(Doctor);
    const { doctorExitCode, examine } = await import('../doctor/examine.js');
    const { doctorHost } = await import('../doctor/doctor-host.js');
    const { renderDoctor } = await import('../doctor/render-doctor.js');
    const request = { mountpoints: argv.map(String), configFile: flags.config, env: process.env };
    const report = await examine(request, doctorHost());
    if (flags.json) this.printJson(report);
    else {
      const { loadChalk } = await import('../report/colours.js');
      const { chooseSymbols } = await import('../report/symbols.js');
      const chalk = await loadChalk(process.stdout, process.env);
      this.print(renderDoctor(report, { symbols: chooseSymbols(process.env), chalk }));
    }
    const code = doctorExitCode(report);
    if (code !== 0) this.exit(code);
  }
}
