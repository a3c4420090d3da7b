import * as z from 'zod';
import { findContentsFile, readContentsFile, writeContentsFile } from '../filesystem/contents-file.js';
import type { StoredFile } from '../filesystem/sent-digests.js';
import { storedName, storedParent, storedPath, storedPlace } from '../stored/stored-names.js';

const contentsSchema = z.object({
  version: z.literal(1),
  /** `dataset`: received, where the repository says; `stream`: what `zfs send` wrote, packed by zstd. */
  kind: z.enum(['dataset', 'stream']),
  /** False while the copy is not at its end: what it names may be there. */
  isComplete: z.boolean(),
  trees: z.array(z.object({ path: storedPath, snapshot: storedName, inside: storedPlace })),
  snapshots: z.array(
    z.object({
      /** Without its dataset: the same on the source and where it was received. */
      name: storedName,
      /** The dataset that it was taken of. */
      origin: z.string(),
      kind: z.enum(['filesystem', 'volume']),
      isRaw: z.boolean(),
      /** Of the snapshot: the same after it was received. */
      guid: z.string(),
      /** Where it was received. */
      dataset: z
        .string()
        .regex(/^[A-Za-z][\w.: %/-]*$/)
        .exactOptional(),
      bytes: z.number(),
      /** What it is an increment of: a snapshot of another backup of the job. */
      parent: storedParent.exactOptional(),
    }),
  ),
});

export type ZfsContents = z.infer<typeof contentsSchema>;
export type SentZfsSnapshot = ZfsContents['snapshots'][number];

export function zfsStreamFile(name: string): string {
  return `${name}.zfs.zst`;
}

/** See `writeContentsFile`. */
export async function writeZfsContents(dataDirectory: string, contents: ZfsContents): Promise<StoredFile> {
  return await writeContentsFile(dataDirectory, contents);
}

/** Undefined where there is none. Rejects with `failed` for one that cannot be read. */
export async function findZfsContents(dataDirectory: string): Promise<ZfsContents | undefined> {
  return await findContentsFile(dataDirectory, contentsSchema);
}

/** As `findZfsContents`, rejecting also where there is none. */
export async function readZfsContents(dataDirectory: string): Promise<ZfsContents> {
  return await readContentsFile(dataDirectory, contentsSchema);
}
