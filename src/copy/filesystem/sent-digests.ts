import { LineWriter } from '../digests/digest-lines.js';
import { finishDigestList } from '../digests/digest-list.js';
import { escapePath, formatRecord, type DigestRecord } from '../digests/digest-record.js';
import type { CopyDigests, DigestRequest } from '../engine.js';

/** Of what was sent, before it was packed: the algorithm of the engines that store few large files. */
export const SENT_DIGEST = 'sha256';

/** A file of a backup's data, by its content before it was packed. */
export interface StoredFile {
  /** In the data directory. */
  name: string;
  sha256: string;
  bytes: number;
}

/** A stored file as the list of digests has it. */
export function storedRecord({ name, sha256, bytes }: StoredFile): DigestRecord {
  const path = escapePath(Buffer.from(name, 'utf8').toString('latin1'));
  return { type: 'f', digest: sha256, sizeBytes: bytes, path };
}

/** Writes the list of the digests of what a backup stores. */
export async function writeSentDigests(
  request: DigestRequest,
  files: readonly StoredFile[],
): Promise<CopyDigests> {
  const raw = `${request.file}.raw`;
  const log = new LineWriter(raw, 'w');
  for (const file of files) log.add(formatRecord(storedRecord(file)));
  await log.close();
  return { algorithm: SENT_DIGEST, ...(await finishDigestList(raw, request.file, undefined)) };
}
