import { Flags } from '@oclif/core';
import { BaseCommand } from '../../base-command.js';
import { configFile } from '../../config/read-files.js';
import { writeStarter } from '../../config/starter.js';
import { configFlag, jsonFlag } from '../../flags.js';
import { suggested } from '../../system/command-line.js';

export default class ConfigInit extends BaseCommand {
  static override summary = 'Write a commented configuration file to start from.';
  static override examples = ['<%= config.bin %> <%= command.id %>'];
  static override flags = {
    config: configFlag,
    force: Flags.boolean({ summary: 'Replace the file when it exists.' }),
    json: jsonFlag,
  };

  protected override readonly believesState = false;

  async run(): Promise<void> {
    const { flags } = await this.parse(ConfigInit);
    const file = configFile(flags.config, process.env);
    await writeStarter(file, { force: flags.force });
    if (flags.json) this.printJson({ version: 1, file });
    else this.printLines(`Wrote ${file}. Edit it, then run: ${suggested('config validate')}`);
  }
}
