import { Flags } from '@oclif/core';

/** `--json`, our own: oclif's `enableJsonFlag` loses exit codes. `BaseCommand` reads it also when parsing fails. */
export const jsonFlag = Flags.boolean({ summary: 'Print one JSON object on stdout and nothing else there.' });

/** `--config FILE`, or FSBACKUP_CONFIG; `conf.d` is looked for beside it. */
export const configFlag = Flags.string({
  summary: 'The configuration file; conf.d is looked for beside it.',
  helpValue: 'FILE',
  env: 'FSBACKUP_CONFIG',
});
