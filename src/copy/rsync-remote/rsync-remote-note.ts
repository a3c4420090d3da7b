import path from 'node:path';
import * as z from 'zod';
import type { Consistency } from '../../snapshots/provider.js';
import { isBackupId, isJobName, type BackupRef } from '../backup/backup-layout.js';
import type { CopyDigests } from '../engine.js';
import { CONSISTENCIES } from '../repository/found-backup.js';
import { topmost } from '../source-layout.js';

/** A larger one is not read. */
export const MAX_NOTE_BYTES = 1024 * 1024;
/** Of what could not be read, as many as have room in it. */
const MAX_UNREADABLE_BYTES = 128 * 1024;
/** More than that is no list of digests, but a way to fill a disk. */
const MAX_LIST_BYTES = 16 * 1024 ** 3;
const MAX_SOURCES = 10_000;
/** PATH_MAX, and `\ooo` for each of its bytes. */
const MAX_PATH_CHARACTERS = 4 * 4096;

/** As the configuration has it: it becomes one of the paths that are restored. */
const livePath = z
  .string()
  .max(MAX_PATH_CHARACTERS)
  .refine((one) => one.startsWith('/') && path.normalize(one) === one && !one.includes('\0'))
  .refine((one) => one === '/' || !one.endsWith('/'));
const count = z.number().int().nonnegative();

const noteSchema = z.object({
  version: z.literal(1),
  job: z.string().refine(isJobName),
  backupId: z.string().refine(isBackupId),
  /** The host that made it. */
  host: z.string().max(255),
  /** When all of it was copied: RFC 3339, UTC. */
  completedAt: z.iso.datetime(),
  consistency: z.enum(CONSISTENCIES).exactOptional(),
  sources: z.array(livePath).min(1).max(MAX_SOURCES),
  files: count,
  bytes: count,
  /** What could not be read and is not in it, for people. */
  unreadable: z.array(z.string().max(MAX_PATH_CHARACTERS)).max(100),
  /** Of `ID.digests.gz` beside it. */
  digests: z
    .object({
      algorithm: z.enum(['xxh128', 'md5']),
      sha256: z.string().regex(/^[0-9a-f]{64}$/),
      entries: count,
      unknown: count,
      sizeBytes: count.max(MAX_LIST_BYTES),
    })
    .exactOptional(),
});

/** What lies beside the tree of a backup on another host, `JOB/ID.json`: what the tree itself does not tell. */
export type RemoteNote = z.infer<typeof noteSchema>;

/** What a copy knows of itself when it is whole. */
export interface NotedCopy {
  backup: Pick<BackupRef, 'job' | 'backupId'>;
  host: string;
  completedAt: string;
  consistency: Consistency | undefined;
  sources: readonly string[];
  files: number;
  bytes: number;
  unreadable: readonly string[];
  digests: (CopyDigests & { sizeBytes: number }) | undefined;
}

function withRoomFor(paths: readonly string[]): string[] {
  let left = MAX_UNREADABLE_BYTES;
  return paths.filter((one) => (left -= Buffer.byteLength(one)) >= 0);
}

function algorithmOf(name: string): 'xxh128' | 'md5' {
  if (name === 'xxh128' || name === 'md5') return name;
  throw new Error(`rsync makes no digests by ${name}`);
}

/** The text of a note. */
export function formatNote(copy: NotedCopy): string {
  const { backup, host, completedAt, consistency, sources, files, bytes, unreadable, digests } = copy;
  const write = (all: readonly string[]): string => {
    const note: RemoteNote = {
      version: 1,
      job: backup.job,
      backupId: backup.backupId,
      host,
      completedAt,
      ...(consistency === undefined ? {} : { consistency }),
      sources: [...all],
      files,
      bytes,
      unreadable: withRoomFor(unreadable),
      ...(digests === undefined
        ? {}
        : { digests: { ...digests, algorithm: algorithmOf(digests.algorithm) } }),
    };
    return `${JSON.stringify(note, undefined, 2)}\n`;
  };
  const text = write(sources);
  if (Buffer.byteLength(text) <= MAX_NOTE_BYTES && sources.length <= MAX_SOURCES) return text;
  // What they lie in brings them all back; `/`, unless it is a source itself, would get attributes that it never had.
  return write([...new Set(topmost(sources).map((one) => `/${one.split('/')[1] ?? ''}`))]);
}

/**
 * Reads the note of a backup, which another host may have made up: the problem, where it is none, or another one's.
 * Never throws.
 */
export function parseNote(
  text: string,
  { job, backupId }: Pick<BackupRef, 'job' | 'backupId'>,
): RemoteNote | { problem: string } {
  if (Buffer.byteLength(text) > MAX_NOTE_BYTES) return { problem: 'it is too large to be one' };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { problem: 'it is no JSON' };
  }
  const { data, error } = noteSchema.safeParse(value);
  if (data === undefined) {
    const [issue] = error?.issues ?? [];
    return { problem: `${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}` };
  }
  if (data.job === job && data.backupId === backupId) return data;
  return { problem: `it is that of ${data.job}@${data.backupId}` };
}
