import path from 'node:path';
import * as z from 'zod';
import { readContentsFile, writeContentsFile } from '../filesystem/contents-file.js';
import type { StoredFile } from '../filesystem/sent-digests.js';
import { storedName, storedParent, storedPath, storedPlace } from '../stored/stored-names.js';

const contentsSchema = z.object({
  version: z.literal(1),
  /** `received`: read-only subvolumes on a btrfs; `stream`: what `btrfs send` wrote, packed by zstd. */
  kind: z.enum(['received', 'stream']),
  /** The trees of the live system: which subvolume each lies in, and where in it. */
  trees: z.array(z.object({ path: storedPath, subvolume: storedName, inside: storedPlace })),
  subvolumes: z.array(
    z.object({
      /** Of the snapshot, and so of what is received from it. */
      name: storedName,
      /** Of the snapshot that was sent. */
      uuid: z.string(),
      /** Received: what tells that it is whole, and, unless it was left when that was made writable, unchanged. */
      receivedUuid: z.string().exactOptional(),
      /** Received: `Subvolume.lastChange` once all of it was on disk. Absent: of before this was recorded. */
      lastChange: z.number().exactOptional(),
      /**
       * Received: whether all of its data has checksums of btrfs, so that to read it proves it. Absent: of before this was
       * recorded, nobody knows.
       */
      checksums: z.boolean().exactOptional(),
      /** Of the stream, before it was packed. */
      bytes: z.number(),
      /** What it is an increment of: a subvolume of another backup of the job. */
      parent: storedParent.exactOptional(),
    }),
  ),
});

export type BtrfsContents = z.infer<typeof contentsSchema>;
export type SentSubvolume = BtrfsContents['subvolumes'][number];

/**
 * Whether an increment, by an earlier version, may be one of another subvolume than it says: what it was received as is not the
 * snapshot's own UUID but one that all snapshots of its subvolume bore, see `findBtrfsParent`.
 */
export function isOfUnknownParent({ uuid, receivedUuid, parent }: SentSubvolume): boolean {
  return parent !== undefined && receivedUuid !== undefined && receivedUuid !== uuid;
}

/** Of a stream. */
export function streamFile(name: string): string {
  return `${name}.btrfs.zst`;
}

export async function writeContents(dataDirectory: string, contents: BtrfsContents): Promise<StoredFile> {
  return await writeContentsFile(dataDirectory, contents);
}

/** Rejects with `failed` where there is none, or one that cannot be read. */
export async function readContents(dataDirectory: string): Promise<BtrfsContents> {
  return await readContentsFile(dataDirectory, contentsSchema);
}

/** The data of another backup of the same job. */
export function siblingData(dataDirectory: string, backupId: string): string {
  return path.join(path.dirname(path.dirname(dataDirectory)), backupId, path.basename(dataDirectory));
}
