import type { runCommand } from '../../system/run-command.js';
import { copyFailure, copyStopped, MAX_UNREADABLE } from '../copy-error.js';
import { livePath } from '../digests/digest-compare.js';
import type { CheckRestoredRequest, VerifyFindings } from '../engine.js';
import { parseDigestLine } from './rsync-digests.js';
import { localTree, type StoredTree } from './rsync-restore.js';
import { FAITHFUL } from './rsync-transfer.js';
import { verifyRsync } from './rsync-verify.js';

/**
 * `CopyEngine.checkRestored` for what came of a tree that the rsync engine wrote: its content against the digests that
 * were taken from the snapshot, and what else a file has (owner, mode, times, links, ACLs, xattrs) against the backup.
 */
export async function checkRestoredByRsync(
  request: CheckRestoredRequest,
  tree: StoredTree,
  run: typeof runCommand,
): Promise<VerifyFindings> {
  const { restored, signal } = request;
  const findings = await verifyRsync({ ...request, mode: 'full' }, localTree(restored), run);
  const { changed } = findings;
  const known = new Set([...changed.paths, ...findings.missing.paths]);
  const result = await run(
    [
      'rsync',
      ...tree.args,
      ...FAITHFUL,
      '--dry-run',
      // Without `-ii` it tells of what differs alone.
      '--itemize-changes',
      '--out-format=@%i %C %l %n//%L',
      `${tree.readFrom}/`,
      `${restored}/`,
    ],
    {
      signal,
      onStdoutLine: (line) => {
        const record = parseDigestLine(line, '');
        if (record === undefined) return;
        const differing = livePath(record.path);
        if (known.has(differing)) return;
        changed.count += 1;
        if (changed.paths.length < MAX_UNREADABLE) changed.paths.push(differing);
      },
    },
  );
  if (signal.aborted) throw copyStopped();
  if (result.exitCode !== 0) throw copyFailure('rsync', result);
  return findings;
}
