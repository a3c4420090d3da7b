import { BaseCommand } from '../../base-command.js';
import { loadConfig } from '../../config/load.js';
import { renderConfig } from '../../config/render.js';
import { configFlag, jsonFlag } from '../../flags.js';

export default class ConfigShow extends BaseCommand {
  static override summary = 'Print the configuration that holds: all files joined, every default filled in.';
  static override examples = ['<%= config.bin %> <%= command.id %> --json'];
  static override flags = { config: configFlag, json: jsonFlag };

  protected override readonly believesState = false;

  async run(): Promise<void> {
    const { flags } = await this.parse(ConfigShow);
    const config = await loadConfig({ configFile: flags.config, freezes: [] });
    if (flags.json) this.printJson(config);
    else this.print(renderConfig(config));
  }
}
