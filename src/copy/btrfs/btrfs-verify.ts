import { createHash } from 'node:crypto';
import path from 'node:path';
import { errnoOf, messageOf } from '../../errors.js';
import { describeFailure, type runCommand } from '../../system/run-command.js';
import { isAsReceived } from './btrfs-base.js';
import { isOfUnknownParent, readContents, type BtrfsContents } from './btrfs-contents.js';
import { CONTENTS } from '../filesystem/contents-file.js';
import { copyStopped, MAX_UNREADABLE } from '../copy-error.js';
import { noDifferences } from '../digests/digest-compare.js';
import type { VerifyFindings, VerifyRequest } from '../engine.js';
import { storedRecord } from '../filesystem/sent-digests.js';
import { readStored } from '../stored/stored-file.js';
import { HashingStream } from '../stream-pipe.js';
import { verifyStreams } from '../filesystem/stream-verify.js';
import { FoundEntries } from '../digests/verify-list.js';

type Run = typeof runCommand;

/** Reads every file of a tree. Not by rsync, which makes a digest of zeros of what it cannot read. */
async function readFiles(
  directory: string,
  { signal, onProgress }: VerifyRequest,
  run: Run,
): Promise<{ bytes: number; problems: string[] }> {
  const problems: string[] = [];
  const through = new HashingStream((bytes) => onProgress({ bytes, files: 0 }));
  through.resume();
  const read = ['find', directory, '-xdev', '-type', 'f', '-exec', 'cat', '--', '{}', '+'] as const;
  const result = await run(read, {
    signal,
    stdoutTo: through,
    onStderrLine: (line) => {
      if (problems.length < MAX_UNREADABLE) problems.push(line);
    },
  });
  if (signal.aborted) throw copyStopped();
  if (result.exitCode !== 0 && problems.length === 0) problems.push(describeFailure('find', result));
  return { bytes: through.bytes, problems };
}

/** How many of what was received it says nothing of that they can be read, and so what is restored of them. */
export function countUnproven({ kind, subvolumes }: BtrfsContents): number {
  return kind === 'received' ? subvolumes.filter(({ checksums }) => checksums !== true).length : 0;
}

/** btrfs checks what it reads, unless it was told to make no checksums when that was written. */
async function readReceived(
  request: VerifyRequest,
  contents: BtrfsContents,
  run: Run,
): Promise<{ bytes: number; unproven: number; problems: string[] }> {
  const problems: string[] = [];
  let bytes = 0;
  for (const subvolume of contents.subvolumes) {
    const directory = path.join(request.dataDirectory, subvolume.name);
    if (!(await isAsReceived(directory, subvolume, run))) {
      problems.push(
        `${subvolume.name} is not there as it was received: it is gone, was made writable, or was written to`,
      );
      continue;
    }
    if (isOfUnknownParent(subvolume))
      problems.push(`${subvolume.name} may be an increment of another subvolume than of that of its parent`);
    if (request.mode === 'quick') continue;
    const read = await readFiles(directory, request, run);
    bytes += read.bytes;
    problems.push(...read.problems.map((problem) => `${subvolume.name}: ${problem}`));
  }
  return { bytes, unproven: request.mode === 'full' ? countUnproven(contents) : 0, problems };
}

/**
 * `CopyEngine.verify` for what the btrfs-send engine wrote. A stream is unpacked and compared with its digest; what was
 * received must be as it was received, which btrfs itself knows, and can be read, which proves its checksums.
 */
export async function verifyBtrfs(request: VerifyRequest, run: Run): Promise<VerifyFindings> {
  const { dataDirectory, digests, mode } = request;
  const found = new FoundEntries(request);
  let contents: BtrfsContents;
  try {
    const text = await readStored(path.join(dataDirectory, CONTENTS));
    const sha256 = createHash('sha256').update(text).digest('hex');
    found.add(storedRecord({ name: CONTENTS, sha256, bytes: Buffer.byteLength(text) }));
    contents = await readContents(dataDirectory);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    await found.compare();
    const problem = errnoOf(error) === undefined ? messageOf(error) : `${CONTENTS} cannot be read`;
    return { ...noDifferences(), files: undefined, bytes: 0, problems: [problem] };
  }
  const read =
    contents.kind === 'stream'
      ? {
          unproven: 0,
          ...(await verifyStreams(request, { streams: contents.subvolumes, extension: 'btrfs' }, found, run)),
        }
      : await readReceived(request, contents, run);
  const compared = await found.compare();
  const differences = mode === 'full' ? compared : { ...noDifferences(), changed: compared.changed };
  const withoutDigest =
    read.unproven + (digests === undefined && contents.kind === 'stream' ? compared.withoutDigest : 0);
  return {
    ...differences,
    withoutDigest,
    files: contents.subvolumes.length,
    bytes: read.bytes,
    problems: read.problems,
  };
}
