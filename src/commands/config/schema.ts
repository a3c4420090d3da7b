import { BaseCommand } from '../../base-command.js';
import { configJsonSchema } from '../../config/json-schema.js';

export default class ConfigSchema extends BaseCommand {
  static override summary = 'Print the JSON Schema of the configuration file, for editors.';
  static override examples = ['<%= config.bin %> <%= command.id %> > fsbackup.schema.json'];

  protected override readonly believesState = false;

  async run(): Promise<void> {
    await this.parse(ConfigSchema);
    this.printJson(configJsonSchema());
  }
}
