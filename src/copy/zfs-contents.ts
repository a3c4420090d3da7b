import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { errnoOf, FsbackupError } from '../errors.js';
import { writeDurably } from '../journal/durable-file.js';
import { CONTENTS } from './btrfs-contents.js';
import type { StoredFile } from './sent-digests.js';

const contentsSchema = z.object({
  version: z.literal(1),
  /** `dataset`: received, where the repository says; `stream`: what `zfs send` wrote, packed by zstd. */
  kind: z.enum(['dataset', 'stream']),
  /** False while the copy is not at its end: what it names may be there. */
  isComplete: z.boolean(),
  trees: z.array(z.object({ path: z.string(), snapshot: z.string(), inside: z.string() })),
  snapshots: z.array(
    z.object({
      /** Without its dataset: the same on the source and where it was received. */
      name: z.string(),
      /** The dataset that it was taken of. */
      origin: z.string(),
      kind: z.enum(['filesystem', 'volume']),
      isRaw: z.boolean(),
      /** Of the snapshot: the same after it was received. */
      guid: z.string(),
      /** Where it was received. */
      dataset: z.string().exactOptional(),
      bytes: z.number(),
      /** What it is an increment of: a snapshot of another backup of the job. */
      parent: z.object({ backupId: z.string(), name: z.string() }).exactOptional(),
    }),
  ),
});

export type ZfsContents = z.infer<typeof contentsSchema>;
export type SentZfsSnapshot = ZfsContents['snapshots'][number];

export function zfsStreamFile(name: string): string {
  return `${name}.zfs.zst`;
}

/** Writes it and returns what the list of digests is to say of it. */
export async function writeZfsContents(dataDirectory: string, contents: ZfsContents): Promise<StoredFile> {
  const text = `${JSON.stringify(contents, undefined, 2)}\n`;
  await writeDurably(path.join(dataDirectory, CONTENTS), text);
  const sha256 = createHash('sha256').update(text).digest('hex');
  return { name: CONTENTS, sha256, bytes: Buffer.byteLength(text) };
}

/** Undefined where there is none. Rejects with `failed` for one that cannot be read. */
export async function findZfsContents(dataDirectory: string): Promise<ZfsContents | undefined> {
  const file = path.join(dataDirectory, CONTENTS);
  try {
    return contentsSchema.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw new FsbackupError('failed', `${file} does not tell what is in the backup`, {
      hint: 'What was sent can be restored all the same: see docs/restore-without-fsbackup.md.',
      cause: error,
    });
  }
}

/** As `findZfsContents`, rejecting also where there is none. */
export async function readZfsContents(dataDirectory: string): Promise<ZfsContents> {
  const contents = await findZfsContents(dataDirectory);
  if (contents !== undefined) return contents;
  throw new FsbackupError('failed', `${dataDirectory} has no ${CONTENTS}`, {
    hint: 'Choose another backup; `fsbackup backups list` shows those that there are.',
  });
}
