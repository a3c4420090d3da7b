import path from 'node:path';
import { messageOf } from '../../errors.js';
import { exists } from '../../system/exists.js';
import { describeFailure, type runCommand } from '../../system/run-command.js';
import { siblingData } from '../btrfs/btrfs-contents.js';
import { copyFailure, copyStopped } from '../copy-error.js';
import type { VerifyRequest } from '../engine.js';
import { storedRecord } from './sent-digests.js';
import { forgetStored } from '../stored/forget-stored.js';
import { requireStored } from '../stored/stored-file.js';
import { HashingStream } from '../stream-pipe.js';
import type { FoundEntries } from '../digests/verify-list.js';

/** A stream in a file, packed by zstd: `<name>.<extension>.zst`. */
export interface StoredStream {
  name: string;
  parent?: { backupId: string; name: string };
}

/** Reads streams that are stored in files: to the list of what was found go their digests, as they are now. */
export async function verifyStreams(
  request: VerifyRequest,
  { streams, extension }: { streams: readonly StoredStream[]; extension: string },
  found: FoundEntries,
  run: typeof runCommand,
): Promise<{ bytes: number; problems: string[] }> {
  const { dataDirectory, mode, signal } = request;
  const problems: string[] = [];
  let bytes = 0;
  for (const { name, parent } of streams) {
    if (parent !== undefined) {
      const needed = siblingData(dataDirectory, parent.backupId);
      if (!(await exists(path.join(needed, `${parent.name}.${extension}.zst`))))
        problems.push(`it cannot be restored without the backup ${parent.backupId}, which is not there`);
    }
    const file = `${name}.${extension}.zst`;
    const other = await requireStored(path.join(dataDirectory, file)).then(() => undefined, messageOf);
    if (other !== undefined) {
      problems.push(other);
      continue;
    }
    await forgetStored(path.join(dataDirectory, file));
    const before = bytes;
    const through = new HashingStream((more) => request.onProgress({ bytes: before + more, files: 0 }));
    through.resume();
    const how = mode === 'quick' ? ['--test'] : ['--decompress', '--stdout'];
    const result = await run(['zstd', '-q', ...how, '--', path.join(dataDirectory, file)], {
      signal,
      ...(mode === 'full' ? { stdoutTo: through } : {}),
    });
    if (signal.aborted) throw copyStopped();
    if (result.notFound) throw copyFailure('zstd', result);
    if (result.exitCode !== 0) problems.push(`${file}: ${describeFailure('zstd', result)}`);
    bytes += through.bytes;
    if (mode !== 'full' || result.exitCode !== 0) continue;
    found.add(storedRecord({ name: `${name}.${extension}`, sha256: through.digest(), bytes: through.bytes }));
  }
  return { bytes, problems };
}
