import path from 'node:path';
import * as z from 'zod';
import { errnoOf, messageOf } from '../../errors.js';
import { writeDurably } from '../../journal/durable-file.js';
import { runReportSchema } from '../../report/run-report-schema.js';
import { backupDirectory, type BackupRef } from './backup-layout.js';
import { formatDigested, isAsDigested } from './digested-json.js';
import { isRealDirectory } from '../stored/real-directory.js';
import { readStored } from '../stored/stored-file.js';
import { storedPath } from '../stored/stored-names.js';
import { ENGINE_NAMES } from '../../engine-names.js';

const manifestSchema = z.object({
  version: z.literal(1),
  fsbackupVersion: z.string(),
  job: z.string(),
  backupId: z.string(),
  engine: z.enum(ENGINE_NAMES),
  /** When the copy was complete and on disk: RFC 3339. */
  completedAt: z.iso.datetime(),
  /** The paths on the live system that the backup holds. */
  sources: z.array(storedPath),
  files: z.number().int().nonnegative(),
  bytes: z.number().int().nonnegative(),
  /** What could not be read and is not in the backup; the first 100. */
  unreadable: z.array(z.string()),
  tools: z.record(z.string(), z.string()),
  /** `digests.gz` beside it, the digests of what was copied; absent in backups of before there were any. */
  digests: z
    .object({ algorithm: z.string(), sha256: z.string(), entries: z.number(), unknown: z.number() })
    .exactOptional(),
  /** Ids of all backups in the same place without which this one cannot be restored, down to the full one (of older versions the next ones alone); absent: it needs none. */
  needs: z.array(z.string()).exactOptional(),
  /**
   * Of a manifest that no run wrote: it was made of what the repository tells. Who made the backup, and whether `files` and
   * `bytes` are known; 0 where not.
   */
  found: z.object({ host: z.string(), isSized: z.boolean() }).exactOptional(),
  /** This host when it made the backup (`thisHost`); absent in those of before there was this, and of `found`. */
  host: z.object({ name: z.string(), id: z.string().exactOptional() }).exactOptional(),
  /** What each of `sources` was read from, as `treeOrigin` names it; absent in those of before there was this. */
  origins: z.array(z.string()).exactOptional(),
  /** The run up to this backup. */
  report: runReportSchema,
});

/** What makes a backup complete, `manifest.json`: what it is of, how it was made, how consistent it is. Stable. */
export type Manifest = z.infer<typeof manifestSchema>;

/** How much a backup holds; undefined where only its repository would tell, by reading it through. */
export function sizeOf({ files, bytes, found }: Manifest): { files: number; bytes: number } | undefined {
  return found?.isSized === false ? undefined : { files, bytes };
}

/** The same as the totals of a progress that goes through all of it. */
export function totalsOf(manifest: Manifest): { totalBytes?: number; totalFiles?: number } {
  const size = sizeOf(manifest);
  return size === undefined ? {} : { totalBytes: size.bytes, totalFiles: size.files };
}

/** The answer to "is there a manifest?". */
export type ManifestState =
  { state: 'complete'; manifest: Manifest } | { state: 'incomplete' } | { state: 'damaged'; problem: string };

export const MANIFEST = 'manifest.json';

export function manifestFile(ref: BackupRef): string {
  return path.join(backupDirectory(ref), MANIFEST);
}

function describeIssues(error: z.ZodError): string {
  return error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ');
}

/** Reads a backup's manifest; one that cannot be read or does not fit its place, or has no directory of data beside it but something else, is `damaged`. Never rejects for it. */
export async function readManifest(ref: BackupRef): Promise<ManifestState> {
  return await readManifestIn(backupDirectory(ref), ref);
}

/** As `readManifest`, of a backup whose directory has another name than its own. */
export async function readManifestIn(
  directory: string,
  ref: Pick<BackupRef, 'job' | 'backupId'>,
): Promise<ManifestState> {
  let text: string;
  let value: unknown;
  try {
    text = await readStored(path.join(directory, MANIFEST));
    value = JSON.parse(text);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return { state: 'incomplete' };
    return { state: 'damaged', problem: `manifest.json cannot be read: ${messageOf(error)}` };
  }
  if (!isAsDigested(text, value)) {
    return { state: 'damaged', problem: 'manifest.json is not what was written: its sha256 is another' };
  }
  const parsed = manifestSchema.safeParse(value);
  if (!parsed.success) {
    return { state: 'damaged', problem: `manifest.json is not a manifest: ${describeIssues(parsed.error)}` };
  }
  const { job, backupId } = parsed.data;
  if (job !== ref.job || backupId !== ref.backupId) {
    return { state: 'damaged', problem: `manifest.json is that of ${job}@${backupId}` };
  }
  // All that reads, mounts, builds on or removes a backup begins here: nothing looks where a symlink leads.
  if ((await isRealDirectory(path.join(directory, 'data'))) === false) {
    return { state: 'damaged', problem: 'data is not a directory' };
  }
  return { state: 'complete', manifest: parsed.data };
}

/** Writes a backup's manifest, durably and atomically: from then on the backup is complete. */
export async function writeManifest(ref: BackupRef, manifest: Manifest): Promise<void> {
  await writeDurably(manifestFile(ref), formatDigested(manifest));
}
