import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { FsbackupError } from '../errors.js';
import { writeDurably } from '../journal/durable-file.js';
import type { StoredFile } from './sent-digests.js';

/** Tells what is in a backup's data. */
export const CONTENTS = 'contents.json';

const contentsSchema = z.object({
  version: z.literal(1),
  /** `received`: read-only subvolumes on a btrfs; `stream`: what `btrfs send` wrote, packed by zstd. */
  kind: z.enum(['received', 'stream']),
  /** The trees of the live system: which subvolume each lies in, and where in it. */
  trees: z.array(z.object({ path: z.string(), subvolume: z.string(), inside: z.string() })),
  subvolumes: z.array(
    z.object({
      /** Of the snapshot, and so of what is received from it. */
      name: z.string(),
      /** Of the snapshot that was sent. */
      uuid: z.string(),
      /** Received: what tells that it is whole and was never changed. */
      receivedUuid: z.string().exactOptional(),
      /** Of the stream, before it was packed. */
      bytes: z.number(),
      /** What it is an increment of: a subvolume of another backup of the job. */
      parent: z.object({ backupId: z.string(), name: z.string() }).exactOptional(),
    }),
  ),
});

export type BtrfsContents = z.infer<typeof contentsSchema>;
export type SentSubvolume = BtrfsContents['subvolumes'][number];

/** Of a stream. */
export function streamFile(name: string): string {
  return `${name}.btrfs.zst`;
}

/** Writes it and returns what the list of digests is to say of it. */
export async function writeContents(dataDirectory: string, contents: BtrfsContents): Promise<StoredFile> {
  const text = `${JSON.stringify(contents, undefined, 2)}\n`;
  await writeDurably(path.join(dataDirectory, CONTENTS), text);
  const sha256 = createHash('sha256').update(text).digest('hex');
  return { name: CONTENTS, sha256, bytes: Buffer.byteLength(text) };
}

/** Rejects with `failed` where there is none, or one that cannot be read. */
export async function readContents(dataDirectory: string): Promise<BtrfsContents> {
  const file = path.join(dataDirectory, CONTENTS);
  try {
    return contentsSchema.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch (error) {
    throw new FsbackupError('failed', `${file} does not tell what is in the backup`, {
      hint: 'What lies beside it can be restored all the same: see docs/restore-without-fsbackup.md.',
      cause: error,
    });
  }
}

/** The data of another backup of the same job. */
export function siblingData(dataDirectory: string, backupId: string): string {
  return path.join(path.dirname(path.dirname(dataDirectory)), backupId, path.basename(dataDirectory));
}
