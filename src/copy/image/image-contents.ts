import * as z from 'zod';
import { FsbackupError } from '../../errors.js';
import { siblingData } from '../btrfs/btrfs-contents.js';
import { readContentsFile, writeContentsFile } from '../filesystem/contents-file.js';
import { readBatches } from '../digests/digest-lines.js';
import type { Extent } from './extents.js';
import type { StoredFile } from '../filesystem/sent-digests.js';
import { storedName, storedParent, storedPath, storedPlace } from '../stored/stored-names.js';
import { suggested } from '../../system/command-line.js';

const contentsSchema = z.object({
  version: z.literal(1),
  /** The trees of the live system: which image each lies in, and where in its filesystem. */
  trees: z.array(z.object({ path: storedPath, image: storedName, inside: storedPlace })),
  images: z.array(
    z.object({
      name: storedName,
      /** For `mount -t`: one type, and none of a helper program's (`fuse.sh`). */
      fstype: z.string().regex(/^[a-z0-9_]+$/),
      /** Taken frozen: it mounts without a replay of its log. */
      clean: z.boolean(),
      /** Of the device. */
      sizeBytes: z.number().int().positive(),
      /** What is stored of it, before it was packed. */
      storedBytes: z.number().int().nonnegative(),
      /** What it is an increment of: an image of another backup of the job. */
      parent: storedParent.exactOptional(),
    }),
  ),
});

export type ImageContents = z.infer<typeof contentsSchema>;
export type StoredImage = ImageContents['images'][number];

/** Which pieces of the device are stored, in order, a line each: `OFFSET LENGTH SHA256`, or `OFFSET LENGTH zero`. */
export function mapFile(name: string): string {
  return `${name}.map`;
}

/** The pieces themselves, one after the other, packed by zstd. */
export function chunksFile(name: string): string {
  return `${name}.chunks.zst`;
}

/** A line of a map. */
export interface MapLine extends Extent {
  /** `zero`: nothing is stored of it. */
  digest: string;
}

export function formatMapLine({ offset, length, digest }: MapLine): string {
  return `${offset} ${length} ${digest}`;
}

/** Throws for what is no line of a map. */
export function parseMapLine(line: string): MapLine {
  const match = /^(\d+) (\d+) ([0-9a-f]{64}|zero)$/.exec(line);
  if (match === null) throw new Error(`not a line of a map: ${line.slice(0, 100)}`);
  return { offset: Number(match[1]), length: Number(match[2]), digest: match[3] ?? '' };
}

/** The lines of a map, one by one. */
export async function* readMap(file: string): AsyncGenerator<MapLine> {
  for await (const lines of readBatches(file)) yield* lines.map(parseMapLine);
}

/** See `writeContentsFile`. */
export async function writeImageContents(
  dataDirectory: string,
  contents: ImageContents,
): Promise<StoredFile> {
  return await writeContentsFile(dataDirectory, contents);
}

/** Rejects with `failed` where there is none, or one that cannot be read. */
export async function readImageContents(dataDirectory: string): Promise<ImageContents> {
  return await readContentsFile(dataDirectory, contentsSchema);
}

/** One backup's part of an image. */
export interface ImageLink {
  dataDirectory: string;
  image: StoredImage;
}

/** What an image is made of, the full one first. Rejects with `failed` when a part of it is not there. */
export async function imageChain(dataDirectory: string, name: string): Promise<ImageLink[]> {
  const chain: ImageLink[] = [];
  const seen = new Set<string>();
  let at = dataDirectory;
  let wanted: string | undefined = name;
  while (wanted !== undefined) {
    const current: string = wanted;
    const { images }: ImageContents = await readImageContents(at);
    const image = images.find((one) => one.name === current);
    if (image === undefined || seen.has(at)) {
      throw new FsbackupError('failed', `${at} has no image ${current}, which an increment needs`, {
        hint: `Restore an earlier backup; \`${suggested('backups list')}\` shows those that there are.`,
      });
    }
    seen.add(at);
    chain.unshift({ dataDirectory: at, image });
    wanted = image.parent?.name;
    if (image.parent !== undefined) at = siblingData(at, image.parent.backupId);
  }
  return chain;
}
