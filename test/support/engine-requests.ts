import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import type {
  CopyEngine,
  CopyRequest,
  CopySource,
  RestoreRequest,
  VerifyFindings,
  VerifyRequest,
} from '../../src/copy/engine.js';
import { must } from './throwaway-filesystem.js';

/** A bound against hanging for ever: a slow machine reads large files several times. */
export const LONG_MS = 900_000;

/** Each directory is that of a backup of its own. */
export function backupOf(dataDirectory: string): CopyRequest['backup'] {
  const hash = createHash('sha256').update(dataDirectory).digest('hex').slice(0, 6);
  return { job: 'contract', backupId: `20261123T184500Z-${hash}` };
}

/** A copy that nobody stops and nobody watches. */
export function copyRequest(
  sources: readonly CopySource[],
  dataDirectory: string,
  more: Partial<CopyRequest> = {},
): CopyRequest {
  return {
    backup: backupOf(dataDirectory),
    sources,
    dataDirectory,
    parentDataDirectory: undefined,
    signal: new AbortController().signal,
    onProgress: () => undefined,
    ...more,
  };
}

/** A restore of all of it, or of some paths. */
export function restoreRequest(
  sources: readonly CopySource[],
  dataDirectory: string,
  destination: string,
  paths: readonly string[] = [],
): RestoreRequest {
  return {
    sources: sources.map((one) => one.path),
    dataDirectory,
    destination,
    paths,
    signal: new AbortController().signal,
    onProgress: () => undefined,
  };
}

/** Verifies, every byte unless asked otherwise. */
export async function verifyWith(
  engine: CopyEngine,
  request: Pick<VerifyRequest, 'dataDirectory' | 'digests' | 'scratch'> & { mode?: VerifyRequest['mode'] },
): Promise<VerifyFindings> {
  const { signal } = new AbortController();
  return await engine.verify({
    mode: 'full',
    notInBackup: [],
    signal,
    onProgress: () => undefined,
    ...request,
  });
}

export const NOTHING = { count: 0, paths: [] };
/** What a verification finds of a backup that is as it was made. */
export const WHOLE = { changed: NOTHING, missing: NOTHING, extra: NOTHING, problems: [], withoutDigest: 0 };

/** Fills a file with what cannot be packed. */
export async function writeRandom(file: string, mebibytes: number): Promise<void> {
  await must('dd', 'if=/dev/urandom', `of=${file}`, 'bs=1M', `count=${mebibytes}`, 'status=none');
}

/** Flips one bit of a file, its time kept to the nanosecond, as on a disk that goes bad: rsync sees no change. */
export async function flipBit(file: string, position: number): Promise<void> {
  const when = await must('stat', '--format=%y', '--', file);
  const handle = await open(file, 'r+');
  try {
    const { buffer } = await handle.read({ buffer: Buffer.alloc(1), position });
    await handle.write(Buffer.from([(buffer[0] ?? 0) ^ 1]), 0, 1, position);
  } finally {
    await handle.close();
  }
  // Node's own utimes knows no nanoseconds.
  await must('touch', `--date=${when}`, '--', file);
}

/** Flips one byte in the middle of the largest file of a directory, its times kept. */
export async function flipByteOfLargest(directory: string): Promise<void> {
  const listed = await must('find', directory, '-type', 'f', '-printf', String.raw`%s %p\n`);
  const sizes = listed.split('\n').map((line) => {
    const [size = '', ...name] = line.split(' ');
    return { size: Number(size), file: name.join(' ') };
  });
  const largest = sizes.toSorted((a, b) => b.size - a.size)[0];
  if (largest === undefined) throw new Error(`no file in ${directory}`);
  await flipBit(largest.file, Math.floor(largest.size / 2));
}
