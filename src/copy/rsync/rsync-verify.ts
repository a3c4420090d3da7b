import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { runCommand } from '../../system/run-command.js';
import { copyFailure, copyStopped, MAX_UNREADABLE } from '../copy-error.js';
import type { VerifyFindings, VerifyRequest } from '../engine.js';
import { findUnreadable } from './read-tree.js';
import { parseDigestLine, TELL_DIGESTS } from './rsync-digests.js';
import { parseComplaint, parseStats } from './rsync-output.js';
import type { StoredTree } from './rsync-restore.js';
import { CONNECTION, PARTIAL } from './rsync-transfer.js';
import { FoundEntries } from '../digests/verify-list.js';

/**
 * `CopyEngine.verify` for a tree that the rsync engine wrote. rsync itself lists it, as if it copied to an empty
 * directory; asked for checksums, it reads every file whole.
 */
export async function verifyRsync(
  request: VerifyRequest,
  tree: StoredTree,
  run: typeof runCommand,
): Promise<VerifyFindings> {
  const { mode, digests, signal } = request;
  const { directory } = tree;
  const empty = path.join(request.scratch, 'empty');
  await mkdir(empty);
  const found = new FoundEntries(request);
  const problems: string[] = [];
  let [files, bytes] = [0, 0];
  // Without anything to compare them with, checksums would show nothing, not even that a file cannot be read.
  const checksums =
    digests === undefined || mode === 'quick' ? [] : ['--checksum', `--checksum-choice=${digests.algorithm}`];
  const result = await run(
    [
      'rsync',
      ...tree.args,
      '--archive',
      '--dry-run',
      '--one-file-system',
      '--stats',
      ...TELL_DIGESTS,
      ...checksums,
      `${tree.readFrom}/`,
      `${empty}/`,
    ],
    {
      signal,
      untilTaken: () => found.untilTaken(),
      onStdoutLine: (line) => {
        const record = parseDigestLine(line, '');
        if (record === undefined) return;
        if (record.type !== 'd') files += 1;
        bytes += record.sizeBytes;
        // What a dry run says of files that it did not read is no digest.
        found.add(checksums.length === 0 && record.type === 'f' ? { ...record, digest: '?' } : record);
        request.onProgress({ files, bytes });
      },
      onStderrLine: (line) => {
        const complaint = parseComplaint(line);
        if (complaint?.kind !== 'path' || problems.length === MAX_UNREADABLE) return;
        const inside = path.relative(directory, path.resolve(directory, complaint.path));
        problems.push(`/${inside} cannot be read: ${line}`);
      },
    },
  );
  if (signal.aborted) throw copyStopped();
  const isPartial = result.exitCode !== undefined && PARTIAL.has(result.exitCode) && problems.length > 0;
  if (result.exitCode !== 0 && !isPartial) {
    throw copyFailure('rsync', result, result.exitCode !== undefined && CONNECTION.has(result.exitCode));
  }
  const differences = await found.compare();
  if (mode === 'full' && differences.withoutDigest > 0)
    problems.push(...(await findUnreadable(directory, signal, tree.runThere ?? run)));
  return { ...differences, files: parseStats(result.stdout).files, bytes, problems };
}
