import path from 'node:path';
import type { runCommand } from '../../system/run-command.js';
import { copyFailure, copyStopped, MAX_UNREADABLE } from '../copy-error.js';
import { livePath, noDifferences } from '../digests/digest-compare.js';
import type { CheckRestoredRequest, VerifyFindings } from '../engine.js';
import { withMounts } from './mounted-trees.js';
import type { OpenedTrees } from './opened-trees.js';
import { asBytes, parseDigestLine } from '../rsync/rsync-digests.js';
import { parseComplaint, parseStats } from '../rsync/rsync-output.js';
import { literalPattern } from '../rsync-pattern.js';
import { FAITHFUL, PARTIAL } from '../rsync/rsync-transfer.js';
import { nestedIn, pathInBackup } from '../source-layout.js';

/** rsync(1), `--itemize-changes`: what it would make anew is not there. */
const MISSING = /^@..\+{9}/;

/** The root of a tree, by nothing but its time. */
const ROOT_TIME = /^@\.d\.\.t\.{6} +(?:\S+ +)?\d+ \.\//;

/**
 * Compares the trees of a backup with what was restored of them, each file byte by byte, and what else it has: owner,
 * mode, times, links, ACLs, xattrs. Reads both sides whole; changes nothing.
 */
export async function checkTrees(
  { trees, mounts, rootTimesVary }: OpenedTrees,
  { restored, signal, onProgress }: Pick<CheckRestoredRequest, 'restored' | 'signal' | 'onProgress'>,
  run: typeof runCommand,
): Promise<VerifyFindings> {
  const found = noDifferences();
  const problems: string[] = [];
  let [files, bytes] = [0, 0];
  const sources = trees.map((tree) => ({ ...tree, exclude: [] }));
  for (const tree of sources) {
    const inside = asBytes(pathInBackup(tree.path));
    const nested = nestedIn(tree, sources).map((one) => `--filter=- ${literalPattern(`/${one}`)}`);
    const against = path.join(restored, pathInBackup(tree.path));
    // Without `-ii` it tells of what differs alone.
    const how = ['--dry-run', '--checksum', '--itemize-changes', '--out-format=@%i %C %l %n//%L', '--stats'];
    const compare = ['rsync', ...FAITHFUL, '--one-file-system', ...how, ...nested] as const;
    const result = await run(withMounts(mounts, [...compare, `${tree.readFrom}/`, `${against}/`]), {
      signal,
      onStdoutLine: (line) => {
        const record = parseDigestLine(line, inside);
        if (record === undefined || (rootTimesVary === true && ROOT_TIME.test(line))) return;
        const sample = MISSING.test(line) ? found.missing : found.changed;
        sample.count += 1;
        if (sample.paths.length < MAX_UNREADABLE) sample.paths.push(livePath(record.path));
      },
      onStderrLine: (line) => {
        if (parseComplaint(line) !== undefined && problems.length < MAX_UNREADABLE) problems.push(line);
      },
    });
    if (signal.aborted) throw copyStopped();
    const isPartial = result.exitCode !== undefined && PARTIAL.has(result.exitCode) && problems.length > 0;
    if (result.exitCode !== 0 && !isPartial) throw copyFailure('rsync', result);
    const stats = parseStats(result.stdout);
    files += stats.files;
    bytes += stats.bytes;
    onProgress({ files, bytes });
  }
  return { ...found, files, bytes, problems };
}
