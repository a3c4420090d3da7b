import { Args } from '@oclif/core';
import { BaseCommand } from '../base-command.js';
import type { Surface } from '../completion/surface.js';

type Render = (surface: Surface) => string;

const SHELLS = {
  bash: async (): Promise<Render> => (await import('../completion/bash.js')).bashCompletion,
  zsh: async (): Promise<Render> => (await import('../completion/zsh.js')).zshCompletion,
  fish: async (): Promise<Render> => (await import('../completion/fish.js')).fishCompletion,
};

export default class Completion extends BaseCommand {
  static override summary = 'Print the script by which a shell completes commands and flags.';
  static override description =
    'What it prints does not change but with the version of fsbackup: write it to where the shell looks, once for each version, or have the shell read it as it starts.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> bash > /etc/bash_completion.d/fsbackup',
    '<%= config.bin %> <%= command.id %> zsh > /usr/local/share/zsh/site-functions/_fsbackup',
    '<%= config.bin %> <%= command.id %> fish > /etc/fish/completions/fsbackup.fish',
  ];
  static override usage = 'completion bash|zsh|fish';
  static override args = {
    which: Args.string({
      description: 'Which shell is to complete.',
      options: Object.keys(SHELLS),
      required: true,
    }),
  };

  protected override readonly believesState = false;

  async run(): Promise<void> {
    const { args } = await this.parse(Completion);
    const { surfaceOf } = await import('../completion/surface.js');
    const { ENGINE_NAMES } = await import('../engine-names.js');
    const { bin, commands, topics } = this.config;
    const summaries = topics.map(({ name, description = '' }) => [name, description] as const);
    const surface = surfaceOf(bin, commands, {
      topics: new Map(summaries),
      known: { engine: ENGINE_NAMES },
    });
    const load = Object.entries(SHELLS).find(([name]) => name === args.which)?.[1];
    if (load !== undefined) this.print((await load())(surface));
  }
}
