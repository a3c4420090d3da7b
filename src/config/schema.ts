import path from 'node:path';
import * as z from 'zod';
import type { FreezeMode } from '../snapshots/provider.js';
import { ENGINE_NAMES } from '../engine-names.js';
import { hasPassword } from '../backup-target.js';
import type { TargetCommand } from '../target-commands.js';
import { closest } from '../suggest.js';
import { unquoted } from './check-shape.js';
import { DURATION_PATTERN, MAX_DURATION_MS, parseDuration } from './duration.js';
import { isSecretName } from './secret-name.js';
import { parsePercent, parseSize, parseSnapshotSize } from './size.js';
import { parseSpan, SPAN_PATTERN } from './span.js';
import type { SourceConfig } from './types.js';

/** A job's name becomes a directory, a lock and part of a snapshot's name. */
export const JOB_NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** Each name once, so that the compiler tells when a type gained one that the schema lacks. */
type NamesOf<Name extends string> = { [Key in Name]: Key };

const SNAPSHOTS = {
  auto: 'auto',
  none: 'none',
  reflink: 'reflink',
  btrfs: 'btrfs',
  zfs: 'zfs',
  lvm: 'lvm',
  mirror: 'mirror',
  command: 'command',
} satisfies NamesOf<SourceConfig['snapshot']>;
const FREEZE_MODES = {
  auto: 'auto',
  explicit: 'explicit',
  native: 'native',
  atomic: 'atomic',
} satisfies NamesOf<'auto' | Exclude<FreezeMode, 'none'>>;

function unknownKey(key: string, known: readonly string[]): string {
  const near = closest(key, known);
  return near === undefined
    ? `unknown key; known here: ${known.join(', ')}`
    : `unknown key; did you mean "${near}"?`;
}

/** A mapping with no other keys than these. Its message has one line for each unknown key, in the issue's order. */
function mapping<Shape extends z.ZodRawShape>(shape: Shape): z.ZodObject<Shape, z.core.$strict> {
  const known = Object.keys(shape);
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? issue.keys.map((key) => unknownKey(key, known)).join('\n')
        : undefined,
  });
}

const duration = z
  .string({
    error: ({ input }) =>
      typeof input === 'number' ? `a number without its unit: write ${input}s` : undefined,
  })
  .regex(DURATION_PATTERN, { error: 'not a duration: write a number and its unit, such as 500ms, 10s or 5m' })
  .transform((text) => parseDuration(text) ?? 0)
  .refine((ms) => ms <= MAX_DURATION_MS, { error: 'too long: 24 days (576h) are the most' })
  .describe('A number and its unit: 500ms, 10s, 5m, 1h');

/** Of what a command may take. */
const timeLimit = duration.refine((ms) => ms > 0, {
  error: 'no time at all: leave it out for the default, or write what the command may take, such as 30s',
});

// `..` is refused rather than resolved: across a symlink it does not lead where it seems to.
const absolutePath = z
  .string()
  .regex(/^\/(?!(.*\/)?\.\.(\/|$))/, {
    error: ({ input }) =>
      typeof input === 'string' && input.startsWith('/')
        ? 'a path with ".." in it: write where it leads'
        : 'not an absolute path: begin it with /',
  })
  // `/srv/.` and `/srv//` are /srv: two names of one path would be two paths.
  .transform((text) => path.posix.resolve(text))
  .describe('An absolute path');

const argv = z
  .array(z.string())
  .min(1, { error: 'an empty command: write a program and its arguments as a list' })
  .refine(([program]) => program !== '', { error: 'an empty name of a program' })
  .describe('A program and its arguments, run without a shell');

export const freezeSchema = mapping({
  timeout: duration
    .exactOptional()
    .describe('Thaw when no reset came for so long; 0s or 1s: none (noTimeout)'),
  maxHold: duration.exactOptional().describe('Thaw so long after the freeze, resets or not'),
  noTimeout: z.boolean().exactOptional().describe('Must stand beside a timeout of 0s or 1s'),
});

const commandsSchema = mapping({
  create: argv.describe(
    'Makes the snapshot {name} of {device}, mounted at {mountpoint}, while that is frozen',
  ),
  expose: argv.describe('Mounts the snapshot read-only at {directory}, which is there and empty'),
  unexpose: argv
    .exactOptional()
    .describe('Undoes expose; absent: what is mounted at {directory} is unmounted'),
  remove: argv.describe('Removes the snapshot {name}; succeeds when it is not there'),
  exists: argv.exactOptional().describe('Exits 0 when the snapshot {name} exists, 1 when not'),
});

const lvmSchema = mapping({
  keyFile: absolutePath.exactOptional().describe('A key of the LUKS container that lies on the volume'),
  size: z
    .string({
      error: ({ input }) =>
        typeof input === 'number'
          ? `a number without its unit: write ${input}GiB or ${input}%ORIGIN`
          : undefined,
    })
    .refine((text) => parseSnapshotSize(text) !== undefined, {
      error: 'not a size: write auto, a share such as 20%ORIGIN, or a number and its unit such as 5GiB',
    })
    .exactOptional()
    .describe('Room of a classic snapshot: auto, 20%ORIGIN, 5GiB'),
  extend: z
    .boolean()
    .exactOptional()
    .describe('Whether a classic snapshot that fills up may grow into its volume group'),
  poolThreshold: z
    .string({
      error: ({ input }) =>
        typeof input === 'number' ? `a number without its unit: write ${input}%` : undefined,
    })
    .refine((text) => (parsePercent(text) ?? 0) >= 1 && (parsePercent(text) ?? 101) <= 100, {
      error: 'not a share from 1% to 100%: write for example 90%',
    })
    .exactOptional()
    .describe('How far a thin pool may be filled, data and metadata'),
});

const sourceSchema = mapping({
  path: absolutePath,
  snapshot: z.enum(SNAPSHOTS).exactOptional(),
  freezeMode: z.enum(FREEZE_MODES).exactOptional(),
  exclude: z.array(z.string().min(1, { error: 'an empty pattern' })).exactOptional(),
  recursive: z.boolean().exactOptional(),
  commands: commandsSchema.exactOptional(),
  lvm: lvmSchema.exactOptional(),
});

const keepCount = z
  .int({ error: 'not a whole number' })
  .min(1, { error: 'at least 1; leave the rule out to keep none by it' })
  .max(100_000, { error: 'at most 100000' });

const keepSchema = mapping({
  last: keepCount.exactOptional().describe('So many of the newest'),
  hourly: keepCount.exactOptional().describe('The newest of each of so many hours that have a backup (UTC)'),
  daily: keepCount.exactOptional(),
  weekly: keepCount.exactOptional(),
  monthly: keepCount.exactOptional(),
  yearly: keepCount.exactOptional(),
  within: z
    .string({ error: 'not a span: write a number and its unit, such as 48h, 30d, 8w or 2y' })
    .regex(SPAN_PATTERN, { error: 'not a span: write a number and its unit, such as 48h, 30d, 8w or 2y' })
    .transform((text) => parseSpan(text) ?? 0)
    .exactOptional()
    .describe('All that are no older than the newest one by more than this: 48h, 30d, 8w, 2y'),
}).refine((rules) => Object.keys(rules).length > 0, {
  error: 'no rule in it: give it one (last, daily, within, …), or leave it out to keep all backups',
});

const KIB = 2 ** 10;
const TIB = 2 ** 40;
const rate = z
  .string({
    error: ({ input }) =>
      typeof input === 'number' ? `a number without its unit: write ${input}KiB or ${input}MiB` : undefined,
  })
  .refine((text) => parseSize(text) !== undefined, {
    error: 'not a rate: write the bytes of a second as a number and its unit (KiB, MiB, GiB), such as 5MiB',
    abort: true,
  })
  .transform((text) => parseSize(text) ?? 0)
  .refine((bytes) => bytes > 0, {
    error: 'nothing could be copied: leave it out for no limit, or write for example 5MiB',
    abort: true,
  })
  .refine((bytes) => bytes >= KIB && bytes <= TIB, { error: 'a rate is 1KiB to 1TiB a second' });

const secretSchema = mapping({
  file: absolutePath.exactOptional().describe("A file that is root's alone"),
  command: argv.exactOptional().describe('What it prints is the secret'),
  credential: z
    .string()
    .regex(/^[A-Za-z0-9_.-]+$/, { error: 'not the name of a credential of systemd' })
    .exactOptional()
    .describe('A credential that systemd hands to the unit'),
})
  .refine((source) => Object.keys(source).length === 1, {
    error: 'write where the secret is read from: one of file, command and credential',
  })
  .describe('Where a secret is read from');

const environmentSchema = z
  .record(
    z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, { error: 'not the name of a variable' }),
    z.union([z.string(), secretSchema], {
      error: ({ input }) =>
        unquoted(input) ?? 'expected text, or a mapping that says where a secret is read from',
    }),
  )
  .superRefine((variables, context) => {
    for (const [name, value] of Object.entries(variables)) {
      if (typeof value !== 'string' || !isSecretName(name)) continue;
      context.addIssue({
        code: 'custom',
        path: [name],
        message: 'a secret does not stand in a configuration: write file, command or credential',
      });
    }
  });

const targetArgv = argv
  .refine((words) => !words.some(hasPassword), {
    error:
      'a password in it is seen by everybody who looks at the processes: write it as a secret of `environment`',
  })
  .exactOptional();

const targetCommandsSchema = mapping({
  check: targetArgv.describe('Exits 0 when the target can take a backup; run before anything is frozen'),
  copy: targetArgv.describe('Copies its working directory'),
  write: targetArgv.describe('Stores what it reads'),
  read: targetArgv.describe('Prints what `write` stored'),
  size: targetArgv.describe('Prints how many bytes are stored'),
  restore: targetArgv.describe('Restores to its working directory'),
  list: targetArgv.describe('Prints the paths that a backup holds, a line each'),
  verify: targetArgv.describe('Exits 0 when a backup is good'),
  remove: targetArgv.describe('Removes a backup; succeeds when it is not there'),
} satisfies Record<TargetCommand, typeof targetArgv>);

const exitCode = z
  .int({ error: 'not a whole number' })
  .min(1, { error: 'an exit code is 1 to 255' })
  .max(255, { error: 'an exit code is 1 to 255' })
  .exactOptional();

const targetSchema = mapping({
  path: absolutePath.exactOptional().describe('The directory that receives the backups'),
  repository: z
    .string()
    .min(1, { error: 'an empty repository' })
    .refine((repository) => !hasPassword(repository), {
      error: 'a password in it would be seen by others: write it as a secret, see docs/configuration.md',
    })
    .exactOptional()
    .describe('In place of path: the repository of the engine, as the engine writes it'),
  initialise: z.boolean().exactOptional().describe('Make the repository where there is none'),
  password: secretSchema.exactOptional().describe('Of the repository'),
  environment: environmentSchema.exactOptional().describe("Variables for the engine's program"),
  options: z
    .record(z.string().regex(/^[A-Za-z0-9._-]+$/, { error: 'not the name of an option' }), z.string())
    .exactOptional()
    .describe("Extended options of the engine's program; no secrets"),
  commands: targetCommandsSchema
    .exactOptional()
    .describe('With engine: command, and with engine: tar and a repository'),
  exitCodes: mapping({
    partial: exitCode.describe('`copy` could not read some files'),
    retry: exitCode.describe('The connection was lost'),
  })
    .exactOptional()
    .describe('What exit codes of the commands mean'),
  engine: z.enum(ENGINE_NAMES).exactOptional(),
  mustBeMountpoint: z.boolean().exactOptional(),
  keep: keepSchema.exactOptional(),
  limit: rate.exactOptional().describe('Bytes a second that a copy writes or sends there at most: 5MiB'),
});

const quiesceSchema = mapping({
  name: z.string().min(1, { error: 'an empty name' }),
  before: argv.exactOptional(),
  after: argv.exactOptional(),
  timeout: timeLimit.exactOptional(),
});

const drillSchema = mapping({
  command: argv
    .exactOptional()
    .describe('Run on what was restored, with {directory} for where; fails the drill unless it exits 0'),
  timeout: timeLimit.exactOptional().describe('How long the command may take'),
  directory: absolutePath.exactOptional().describe('Where to restore to, in a directory of its own'),
});

/** What calendar events of systemd.time(7) are written with: no quotes, no `%`, no line's end, so that it is one word of a unit. */
export const CALENDAR_PATTERN = /^[A-Za-z0-9*][A-Za-z0-9 ,:.*/~_+-]*$/;

const attempts = z
  .int({ error: 'not a whole number' })
  .min(1, { error: 'at least 1' })
  .max(100, { error: 'at most 100' })
  .describe('How often the window and a copy that lost its connection are tried');

/** One job as written. */
export const jobSchema = mapping({
  sources: z.array(z.union([absolutePath, sourceSchema])).min(1, { error: 'no source: name at least one' }),
  targets: z.array(z.union([absolutePath, targetSchema])).min(1, { error: 'no target: name at least one' }),
  keep: keepSchema.exactOptional().describe('For each target that has no keep of its own'),
  quiesce: z.array(quiesceSchema).exactOptional(),
  freeze: freezeSchema.exactOptional(),
  attempts: attempts.exactOptional(),
  mustBeOneInstant: z
    .boolean()
    .exactOptional()
    .describe('Refuse a run whose sources cannot all be at one instant'),
  drill: drillSchema.exactOptional().describe('For `backups verify --drill`'),
  schedule: z
    .string()
    .regex(CALENDAR_PATTERN, {
      error: 'not a calendar event of systemd: write for example daily, or *-*-* 02:30',
    })
    .exactOptional()
    .describe('When `fsbackup schedule install` has it run: a calendar event of systemd.time(7)'),
});

const version = z.literal(1, {
  error: ({ input }) =>
    input === undefined ? 'missing: write `version: 1`' : 'this fsbackup reads version 1',
});

// Null, since a starter file whose jobs are all commented out holds it.
const jobs = z
  .record(
    z.string().regex(JOB_NAME_PATTERN, {
      error: 'not a job name: letters, digits, ".", "_" and "-", the first a letter or digit, 64 at most',
    }),
    jobSchema,
  )
  .nullable();

/** The main file. */
export const configSchema = mapping({
  version,
  freeze: freezeSchema.exactOptional(),
  attempts: attempts.exactOptional(),
  jobs: jobs.exactOptional(),
});

/** A file of conf.d: jobs only, so that the defaults of all jobs stand in one place. */
export const dropInSchema = mapping({ version, jobs: jobs.exactOptional() });

export type RawFreeze = z.output<typeof freezeSchema>;
export type RawJob = z.output<typeof jobSchema>;
export type RawConfig = z.output<typeof configSchema>;
