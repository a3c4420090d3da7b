import * as z from 'zod';

const status = z.object({
  message_type: z.literal('status'),
  bytes_done: z.number().default(0),
  files_done: z.number().default(0),
  total_bytes: z.number().optional(),
  total_files: z.number().optional(),
  // Of a restore.
  bytes_restored: z.number().optional(),
  files_restored: z.number().optional(),
});
const summary = z.object({
  message_type: z.literal('summary'),
  total_files_processed: z.number(),
  total_bytes_processed: z.number(),
  snapshot_id: z.string(),
});
const failure = z.object({
  message_type: z.literal('error'),
  error: z.unknown(),
  item: z.string().default(''),
});

const message = z.discriminatedUnion('message_type', [status, summary, failure]);

/** A line that restic prints with `--json`. */
export type ResticMessage = z.infer<typeof message>;

/** Reads a line of JSON; undefined for what is none, or none of these. Before 0.17 restic writes other lines too. */
export function parseMessage(line: string): ResticMessage | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    return message.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}

/** The path in `ignoring error for PATH: why`, which a restore says of what it cannot write. */
export function parseIgnored(line: string): string | undefined {
  const said = parseMessage(line);
  if (said?.message_type === 'error') return said.item === '' ? undefined : said.item;
  return /^ignoring error for (\/.*?): /.exec(line)?.[1];
}

/**
 * The path in `can not obtain extended attribute NAME for PATH:`, which a backup says of one that it could not read. Up to 0.18 at
 * least it goes on without, and ends as if all were well.
 */
export function withoutAttribute(line: string): string | undefined {
  return /^can not obtain extended attribute .+? for (.+):$/.exec(line)?.[1];
}

const snapshotSchema = z.object({
  id: z.string(),
  tree: z.string(),
  time: z.string(),
  hostname: z.string().default(''),
  paths: z.array(z.string()).default([]),
  tags: z.array(z.string()).nullish(),
  // Since 0.17.
  summary: z
    .object({ total_files_processed: z.number(), total_bytes_processed: z.number() })
    .optional()
    .catch(undefined),
});

/** What `restic snapshots --json` tells of one. */
export type ResticSnapshot = z.infer<typeof snapshotSchema>;

/** The snapshots that `restic snapshots --json` printed; it prints `null` for none. Throws for what is no such list. */
export function parseSnapshots(text: string): ResticSnapshot[] {
  return z.array(snapshotSchema).nullable().parse(JSON.parse(text)) ?? [];
}
