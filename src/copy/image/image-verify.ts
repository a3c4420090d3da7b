import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { messageOf } from '../../errors.js';
import { describeFailure, type runCommand } from '../../system/run-command.js';
import { siblingData } from '../btrfs/btrfs-contents.js';
import { CONTENTS } from '../filesystem/contents-file.js';
import { copyFailure, copyStopped } from '../copy-error.js';
import { noDifferences } from '../digests/digest-compare.js';
import { forgetStored } from '../stored/forget-stored.js';
import { readStored, requireStored, sha256Of } from '../stored/stored-file.js';
import type { VerifyFindings, VerifyRequest } from '../engine.js';
import {
  chunksFile,
  imageChain,
  mapFile,
  readImageContents,
  type ImageContents,
  type ImageLink,
} from './image-contents.js';
import { DamagedImage, describeDamage, readPieces } from './image-reader.js';
import { storedRecord } from '../filesystem/sent-digests.js';
import { FoundEntries } from '../digests/verify-list.js';

type Run = typeof runCommand;

async function checkStored(
  link: ImageLink,
  { mode, signal }: VerifyRequest,
  run: Run,
): Promise<string | undefined> {
  const { dataDirectory, image } = link;
  const file = path.join(dataDirectory, chunksFile(image.name));
  await requireStored(file);
  await forgetStored(file);
  if (mode === 'quick') {
    const result = await run(['zstd', '-q', '--test', '--', file], { signal });
    if (signal.aborted) throw copyStopped();
    if (result.notFound) throw copyFailure('zstd', result);
    return result.exitCode === 0 ? undefined : `${image.name}: ${describeFailure('zstd', result)}`;
  }
  try {
    const onPiece = async (): Promise<void> => undefined;
    const result = await readPieces(link, { map: mapFile(image.name), signal, onPiece }, run);
    if (signal.aborted) throw copyStopped();
    if (result.exitCode !== 0) throw copyFailure('zstd', result);
    return undefined;
  } catch (error) {
    if (error instanceof DamagedImage) return describeDamage(link, error);
    // A map that is none.
    if (error instanceof Error && error.constructor === Error) return describeDamage(link, error);
    throw error;
  }
}

/** What of the small files is there, with its digest. */
async function addSmallFiles(
  dataDirectory: string,
  contents: ImageContents,
  found: FoundEntries,
): Promise<void> {
  const text = await readStored(path.join(dataDirectory, CONTENTS));
  const sha256 = createHash('sha256').update(text).digest('hex');
  found.add(storedRecord({ name: CONTENTS, sha256, bytes: Buffer.byteLength(text) }));
  for (const { name } of contents.images) {
    const file = path.join(dataDirectory, mapFile(name));
    const size = await stat(file).catch(() => undefined);
    if (size === undefined) continue;
    found.add(storedRecord({ name: mapFile(name), sha256: await sha256Of(file), bytes: size.size }));
  }
}

/**
 * `CopyEngine.verify` for what the image engine wrote: its own part, each piece of which has its digest in the map, whose
 * digest is in the list. Of the parts that it needs, only that they are there.
 */
export async function verifyImages(request: VerifyRequest, run: Run): Promise<VerifyFindings> {
  const { dataDirectory, digests } = request;
  const found = new FoundEntries(request);
  const problems: string[] = [];
  let [bytes, files] = [0, 0];
  try {
    const contents = await readImageContents(dataDirectory);
    await addSmallFiles(dataDirectory, contents, found);
    for (const image of contents.images) {
      files += 1;
      bytes += image.storedBytes;
      const { parent } = image;
      if (parent !== undefined) {
        const needed = imageChain(siblingData(dataDirectory, parent.backupId), parent.name);
        await needed.catch((error: unknown) => problems.push(messageOf(error)));
      }
      const damage = await checkStored({ dataDirectory, image }, request, run);
      if (damage !== undefined) problems.push(damage);
      request.onProgress({ bytes, files });
    }
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error) || error.code !== 'failed') throw error;
    problems.push(error.message);
  }
  const compared = await found.compare();
  const differences = digests === undefined ? { ...noDifferences(), withoutDigest: files } : compared;
  return { ...differences, files, bytes, problems };
}
