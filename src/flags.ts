import { Flags } from '@oclif/core';
import type { FromTarget } from './copy/target/from-target.js';

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

/** The target that the backups are in, instead of the configuration's: a directory, or the repository of an engine. */
export const fromFlags = {
  from: Flags.string({
    summary:
      'The target that the backups are in, a directory or a repository; else those of the configuration.',
    helpValue: 'TARGET',
  }),
  engine: Flags.string({
    summary: 'The engine whose repository --from names; not needed for a directory.',
    helpValue: 'NAME',
    dependsOn: ['from'],
  }),
  'password-file': Flags.string({
    summary: 'A file with the password of that repository, for root alone.',
    helpValue: 'FILE',
    dependsOn: ['engine'],
  }),
};

/** How those are written in a usage: oclif does not tell which flag needs which. */
export const fromUsage = '[--from TARGET [--engine NAME [--password-file FILE]]] [--config FILE]';

/** What those flags say. */
export function fromTarget(flags: {
  from?: string | undefined;
  engine?: string | undefined;
  'password-file'?: string | undefined;
}): FromTarget {
  return { from: flags.from, engine: flags.engine, passwordFile: flags['password-file'] };
}
