import { Flags } from '@oclif/core';
import { ENGINE_NAMES } from './engine-names.js';
import { configFlag } from './flags.js';
import { freezeFlags, freezeOverrides } from './freeze-flags.js';
import type { JobSelection } from './run/select-jobs.js';

/** oclif writes it in capitals and puts FLAGS after it. */
const HELP_GROUP = 'unconfigured job';

/** `command` needs commands, which no flag gives. */
const FLAG_ENGINES = ENGINE_NAMES.filter((name) => name !== 'command');

/** Which jobs, for `run` and `plan`. */
export const jobFlags = {
  config: configFlag,
  job: Flags.string({
    summary: 'Name of the job that these flags describe; no configuration is read.',
    helpValue: 'NAME',
    helpGroup: HELP_GROUP,
  }),
  source: Flags.string({
    summary: 'Directory to back up.',
    helpValue: 'DIR',
    multiple: true,
    multipleNonGreedy: true,
    helpGroup: HELP_GROUP,
  }),
  to: Flags.string({
    summary: 'Directory, or repository of the engine, that receives the backups.',
    helpValue: 'DIR',
    multiple: true,
    multipleNonGreedy: true,
    helpGroup: HELP_GROUP,
  }),
  engine: Flags.string({
    summary: `${FLAG_ENGINES.join(', ')}.`,
    helpValue: 'NAME',
    helpGroup: HELP_GROUP,
  }),
  'password-file': Flags.string({
    summary: 'A file with the password of the repository, for root alone.',
    helpValue: 'FILE',
    helpGroup: HELP_GROUP,
  }),
  initialise: Flags.boolean({
    summary: 'Make the repository where there is none.',
    helpGroup: HELP_GROUP,
  }),
  exclude: Flags.string({
    summary: "Leave out what matches, rsync's syntax.",
    helpValue: 'PATTERN',
    multiple: true,
    multipleNonGreedy: true,
    helpGroup: HELP_GROUP,
  }),
  snapshot: Flags.string({
    summary: 'auto, reflink, btrfs, zfs, lvm, mirror, or none (copy the live tree).',
    helpValue: 'KIND',
    helpGroup: HELP_GROUP,
  }),
  recursive: Flags.boolean({
    summary: 'Back up what is mounted below, and nested subvolumes, too.',
    helpGroup: HELP_GROUP,
  }),
  'must-be-mountpoint': Flags.boolean({
    summary: 'Fail unless the target is a mountpoint.',
    helpGroup: HELP_GROUP,
  }),
  limit: Flags.string({
    summary: 'Write or send to the targets no more than so many bytes a second: 5MiB.',
    helpValue: 'RATE',
    helpGroup: HELP_GROUP,
  }),
  ...freezeFlags,
  force: Flags.boolean({ summary: 'Freeze also what fsbackup or the machine may need.' }),
};

/** The flags above, parsed. */
interface ParsedJobFlags {
  config?: string | undefined;
  job?: string | undefined;
  source?: string[] | undefined;
  to?: string[] | undefined;
  engine?: string | undefined;
  'password-file'?: string | undefined;
  initialise?: boolean | undefined;
  exclude?: string[] | undefined;
  snapshot?: string | undefined;
  recursive: boolean;
  'must-be-mountpoint': boolean;
  limit?: string | undefined;
  timeout?: number | undefined;
  'max-hold'?: number | undefined;
  'no-timeout': boolean;
}

/** What the flags and the arguments select. */
export function jobSelection(
  flags: ParsedJobFlags,
  names: readonly string[],
  env: NodeJS.ProcessEnv,
): JobSelection {
  const { job, source, to, engine, exclude, snapshot } = flags;
  const described = {
    ...(job === undefined ? {} : { job }),
    ...(source === undefined ? {} : { source }),
    ...(to === undefined ? {} : { to }),
    ...(engine === undefined ? {} : { engine }),
    ...(flags['password-file'] === undefined ? {} : { passwordFile: flags['password-file'] }),
    ...(flags.initialise === true ? { initialise: true } : {}),
    ...(exclude === undefined ? {} : { exclude }),
    ...(snapshot === undefined ? {} : { snapshot }),
    ...(flags.recursive ? { recursive: true } : {}),
    ...(flags['must-be-mountpoint'] ? { mustBeMountpoint: true } : {}),
    ...(flags.limit === undefined ? {} : { limit: flags.limit }),
  };
  return {
    names,
    configFile: flags.config,
    flags: Object.keys(described).length === 0 ? undefined : described,
    overrides: freezeOverrides(flags),
    env,
  };
}
