import { createHash } from 'node:crypto';
import path from 'node:path';
import { errnoOf, FsbackupError } from '../../errors.js';
import { describeFailure, type runCommand } from '../../system/run-command.js';
import { CONTENTS } from '../filesystem/contents-file.js';
import { copyStopped } from '../copy-error.js';
import { noDifferences } from '../digests/digest-compare.js';
import type { VerifyFindings, VerifyRequest } from '../engine.js';
import { storedRecord } from '../filesystem/sent-digests.js';
import { readStored } from '../stored/stored-file.js';
import { HashingStream } from '../stream-pipe.js';
import { verifyStreams } from '../filesystem/stream-verify.js';
import { FoundEntries } from '../digests/verify-list.js';
import { readZfsContents, type ZfsContents } from './zfs-contents.js';
import { atPlaceOf, type ZfsStore } from './zfs-target.js';

type Run = typeof runCommand;

/** ZFS checks what it reads: sending a snapshot reads all of it. At another host the stream stays there. */
async function readDatasets(
  { mode, signal, onProgress }: VerifyRequest,
  { snapshots }: ZfsContents,
  { store, run }: { store: ZfsStore; run: Run },
): Promise<{ bytes: number; problems: string[] }> {
  const problems: string[] = [];
  let bytes = 0;
  for (const { name, dataset = '', guid, isRaw } of snapshots) {
    const snapshot = `${dataset}@${name}`;
    if ((await store.get('guid', snapshot)) !== guid) {
      problems.push(`${snapshot} is not there, or is another one`);
      continue;
    }
    if (mode === 'quick') continue;
    const before = bytes;
    const through = new HashingStream((more) => onProgress({ bytes: before + more, files: 0 }));
    through.resume();
    const argv = atPlaceOf(store.place, ['zfs', 'send', isRaw ? '-Lcew' : '-Lce', snapshot]);
    if (store.place.host !== undefined) argv.push(`${argv.pop() ?? ''} >/dev/null`);
    const result = await run(argv, { signal, stdoutTo: through });
    if (signal.aborted) throw copyStopped();
    if (result.exitCode !== 0) problems.push(`${snapshot}: ${describeFailure('zfs', result)}`);
    bytes += through.bytes;
  }
  return { bytes, problems };
}

/** `CopyEngine.verify` for what the zfs-send engine wrote. */
export async function verifyZfs(
  request: VerifyRequest,
  store: ZfsStore | undefined,
  run: Run,
): Promise<VerifyFindings> {
  const { dataDirectory, mode } = request;
  const found = new FoundEntries(request);
  let contents: ZfsContents;
  try {
    const text = await readStored(path.join(dataDirectory, CONTENTS));
    const sha256 = createHash('sha256').update(text).digest('hex');
    found.add(storedRecord({ name: CONTENTS, sha256, bytes: Buffer.byteLength(text) }));
    contents = await readZfsContents(dataDirectory);
  } catch (error) {
    if (!(error instanceof FsbackupError) && errnoOf(error) === undefined) throw error;
    await found.compare();
    const problem = error instanceof FsbackupError ? error.message : `${CONTENTS} cannot be read`;
    return { ...noDifferences(), files: undefined, bytes: 0, problems: [problem] };
  }
  const read =
    contents.kind === 'dataset' && store !== undefined
      ? await readDatasets(request, contents, { store, run })
      : await verifyStreams(request, { streams: contents.snapshots, extension: 'zfs' }, found, run);
  const compared = await found.compare();
  const differences = mode === 'full' ? compared : { ...noDifferences(), changed: compared.changed };
  return { ...differences, files: contents.snapshots.length, bytes: read.bytes, problems: read.problems };
}
