import { Flags } from '@oclif/core';

/** `--json`, our own: oclif's `enableJsonFlag` loses exit codes. `BaseCommand` reads it also when parsing fails. */
export const jsonFlag = Flags.boolean({ summary: 'Print one JSON object on stdout and nothing else there.' });

/** `--log-json`; `BaseCommand` reads it also when parsing fails. */
export const logJsonFlag = Flags.boolean({
  summary: 'Write what goes on as JSON, an event a line, on stderr and nothing else there.',
});

/** `--config FILE`. `configFile` reads FSBACKUP_CONFIG: oclif's `env` cannot tell an empty variable from a flag. */
export const configFlag = Flags.string({
  summary: 'The configuration file; conf.d is looked for beside it. FSBACKUP_CONFIG names another default.',
  helpValue: 'FILE',
});

/** What BACKUP may be, for the commands that take one. */
export const backupDescription =
  'BACKUP is JOB or JOB@latest (the last complete one), JOB@ID, or JOB@ and the beginning of an id, a date (UTC), or what an id ends in (1a2b3c).';

/** `--from DIR`: the target that the backups are in, instead of the configuration's. */
export const fromFlag = Flags.string({
  summary: 'The target directory that the backups are in; else those of the configuration.',
  helpValue: 'DIR',
});
