import { readdir } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { FsbackupError } from '../../errors.js';
import { copyStopped, UnreadablePaths } from '../copy-error.js';
import type { CopyRequest, CopyResult } from '../engine.js';
import type { TreeOfJob } from '../repository/merged-copy.js';
import { kibPerSecond } from '../pace.js';
import { readRootAttributes } from '../root-attributes.js';
import { resticExcludes } from './restic-excludes.js';
import { parseMessage, withoutAttribute } from './restic-output.js';
import { resticReference as reference, toLivePath } from './restic-reference.js';
import type { ResticRepository } from './restic-repository.js';
import { consistencyTag, resticTags } from './restic-tags.js';
import { RetryWatch } from './retry-watch.js';
import { readSpace } from '../../system/filesystem-space.js';
import { FullWatch } from './full-watch.js';
import { unprovenTrees } from '../backup/tree-origins.js';

/** restic's exit code for a snapshot that lacks what could not be read. */
const PARTIAL = 3;
/** How long a backup waits for another's lock, a prune's that writes anew what it keeps. */
const LOCK_PATIENCE_MS = 30 * 60_000;
/** A SHA-256. */
const FULL_ID = /^[0-9a-f]{64}$/;

/** What a backup works with. */
export interface ResticBackupContext extends TreeOfJob {
  repository: ResticRepository;
  /** How long restic may try to get its connection back. */
  patienceMs: number;
  /** The directory of the repository, where it is on this host. */
  localPath: string | undefined;
}

function argsOf(
  { sources, backup, consistency, parentOrigins, limitBytesPerSecond }: CopyRequest,
  { tree, directory }: TreeOfJob,
): string[] {
  const tags = [...resticTags(backup), ...(consistency === undefined ? [] : [consistencyTag(consistency)])];
  return [
    'backup',
    '--json',
    '--one-file-system',
    ...(limitBytesPerSecond === undefined ? [] : [`--limit-upload=${kibPerSecond(limitBytesPerSecond)}`]),
    // Else it takes what has the inode number, size and times of the last snapshot for that.
    ...(unprovenTrees(sources, parentOrigins).size > 0 ? ['--force'] : []),
    `--host=${os.hostname()}`,
    ...tags.map((tag) => `--tag=${tag}`),
    ...resticExcludes(sources, directory).map((pattern) => `--exclude=${pattern}`),
    '--',
    ...tree.names,
  ];
}

/**
 * The id of the snapshot that restic says it made, which pins its content: it is the digest of the file that holds it.
 * A repository on this host shows whether it has it; no other is asked, since each question takes restic most of half a
 * second (it derives the key from the password anew), unless restic told no more than the id's beginning (before 0.15).
 */
async function findMade(
  { backup, signal }: CopyRequest,
  { repository, localPath }: ResticBackupContext,
  told: string,
): Promise<string> {
  if (localPath === undefined && FULL_ID.test(told)) return told;
  const ids =
    localPath === undefined
      ? (await repository.snapshotsOf(backup, signal)).map(({ id }) => id)
      : await readdir(path.join(localPath, 'snapshots'));
  const [id, another] = ids.filter((one) => one.startsWith(told));
  if (id !== undefined && another === undefined) return id;
  throw new FsbackupError('copyFailed', `restic made a snapshot ${told} that its repository does not have`, {
    hint: 'See whether somebody else removes snapshots (`restic forget`) meanwhile, and run it again.',
  });
}

/** Makes the snapshot of one backup, and writes its reference. Rejects with `copyFailed`. */
export async function makeSnapshot(request: CopyRequest, context: ResticBackupContext): Promise<CopyResult> {
  const { dataDirectory, sources, signal } = request;
  const { repository, tree, directory, localPath } = context;
  const unreadable = new UnreadablePaths();
  const watch = new RetryWatch(context.patienceMs, signal);
  const stuck = new AbortController();
  const fullWatch =
    localPath === undefined
      ? undefined
      : new FullWatch({
          readSpace: () => readSpace(localPath),
          stop: () => stuck.abort(),
          limitBytesPerSecond: request.limitBytesPerSecond,
        });
  let done: { files: number; bytes: number } | undefined;
  let told = '';
  await reference.announce(dataDirectory);
  const result = await repository.run(
    argsOf(request, context),
    {
      signal: AbortSignal.any([watch.signal, stuck.signal]),
      onStdoutLine: (line) => {
        const said = parseMessage(line);
        if (said?.message_type === 'status') {
          watch.did(said.bytes_done);
          fullWatch?.did(`${said.bytes_done} ${said.files_done}`);
          request.onProgress({
            bytes: said.bytes_done,
            files: said.files_done,
            ...(said.total_bytes === undefined ? {} : { totalBytes: said.total_bytes }),
            ...(said.total_files === undefined ? {} : { totalFiles: said.total_files }),
          });
        } else if (said?.message_type === 'summary') {
          done = { files: said.total_files_processed, bytes: said.total_bytes_processed };
          told = said.snapshot_id;
        }
      },
      onStderrLine: (line) => {
        watch.said(line);
        const said = parseMessage(line);
        const lost = said?.message_type === 'error' ? said.item : withoutAttribute(line);
        if (lost !== undefined && lost !== '') unreadable.add(toLivePath(lost, directory));
      },
    },
    // Without it there is no backup at all, and by now nobody is held up.
    { within: tree.inTree, waitMs: LOCK_PATIENCE_MS },
  );
  watch.end();
  fullWatch?.end();
  const isPartial = result.exitCode === PARTIAL && unreadable.paths.length > 0;
  if ((result.exitCode !== 0 && !isPartial) || done === undefined) {
    // restic that ends by itself with an error has saved no snapshot, nor has one that reached nobody for so long.
    const endedItself = result.exitCode !== undefined && !signal.aborted && done === undefined;
    if (endedItself || watch.gaveUp) await reference.withdraw(dataDirectory);
    if (signal.aborted) throw copyStopped();
    const stderr = fullWatch?.isFull === true ? `${result.stderr}\nno space left on device` : result.stderr;
    throw repository.failure({ ...result, stderr, aborted: false }, watch.gaveUp);
  }
  request.onProgress(done);
  const id = await findMade(request, context, told);
  const root = await readRootAttributes(sources);
  await reference.write(dataDirectory, {
    version: 1,
    snapshot: id,
    ...(root === undefined ? {} : { root }),
  });
  return { ...done, unreadable: unreadable.paths };
}
