import * as z from 'zod';

const at = {
  version: z.literal(1),
  /** When it happened: RFC 3339. Events of the window are written after the thaw. */
  time: z.iso.datetime(),
  job: z.string(),
  /** Of the backup that is restored or verified; null in a run. */
  backupId: z.string().nullable(),
};

/** One line of `--log-json`, on stderr: stable. Within version 1 keys and events may be added. */
export const logEventSchema = z.discriminatedUnion('event', [
  z.strictObject({ ...at, event: z.literal('job-started') }),
  /** `frozen`: while a filesystem is. */
  z.strictObject({ ...at, event: z.literal('step-started'), step: z.string(), frozen: z.boolean() }),
  z.strictObject({ ...at, event: z.literal('step-finished'), step: z.string(), durationMs: z.number() }),
  z.strictObject({ ...at, event: z.literal('step-failed'), step: z.string(), message: z.string() }),
  /** At most one a second, and the last one of a step. Null: not known. */
  z.strictObject({
    ...at,
    event: z.literal('progress'),
    step: z.string().nullable(),
    bytes: z.number(),
    files: z.number(),
    totalBytes: z.number().nullable(),
    totalFiles: z.number().nullable(),
    entries: z.number().nullable(),
    totalEntries: z.number().nullable(),
    bytesPerSecond: z.number().nullable(),
    secondsLeft: z.number().nullable(),
  }),
  z.strictObject({ ...at, event: z.literal('warning'), message: z.string() }),
  /** For whom, such as another run of the job; no warning. */
  z.strictObject({ ...at, event: z.literal('waiting'), message: z.string() }),
  /** `outcome` is that of the report. */
  z.strictObject({ ...at, event: z.literal('job-finished'), outcome: z.string(), exitCode: z.number() }),
  /** The last line of a command that failed, in place of its two lines of text; `stack` with `DEBUG`. */
  z.strictObject({
    version: z.literal(1),
    time: z.iso.datetime(),
    event: z.literal('error'),
    code: z.string(),
    exitCode: z.number(),
    message: z.string(),
    hint: z.string(),
    stack: z.string().exactOptional(),
  }),
]);

export type LogEvent = z.infer<typeof logEventSchema>;
