import path from 'node:path';
import { messageOf } from '../../errors.js';
import { describeFailure, type runCommand } from '../../system/run-command.js';
import { copyFailure, copyStopped } from '../copy-error.js';
import { noDifferences } from '../digests/digest-compare.js';
import { escapePath, plainRecord, type DigestRecord } from '../digests/digest-record.js';
import type { VerifyFindings, VerifyRequest } from '../engine.js';
import { forgetStored } from '../stored/forget-stored.js';
import { requireStored } from '../stored/stored-file.js';
import { ARCHIVE, type TarArchive } from './tar-archive.js';
import { isAmong } from './tar-padded.js';
import { TarStream, type TarMember } from './tar-stream.js';
import { FoundEntries } from '../digests/verify-list.js';

/** Of a member's data as the archive stores it: of a sparse file the map of its holes and what is between them. */
export const TAR_DIGEST = 'sha256';

const TYPES: Readonly<Record<string, 'd' | 'L' | 'D' | 'S'>> = { 2: 'L', 3: 'D', 4: 'D', 5: 'd', 6: 'S' };

function normalised(name: string): string {
  const bare = name.replace(/\/+$/, '');
  return bare === '.' ? '' : bare;
}

/** A member as the list of digests has it. */
export function recordOf(member: TarMember, digest: string): DigestRecord {
  const name = normalised(member.path);
  const type = TYPES[member.type];
  if (type !== undefined) return plainRecord(type, name, member.linkPath);
  const record = { type: 'f', sizeBytes: member.sizeBytes, path: escapePath(name) } as const;
  return member.type === '1'
    ? { ...record, digest: '=', link: escapePath(normalised(member.linkPath)) }
    : { ...record, digest };
}

/** `CopyEngine.verify` for an archive in a data directory. Quick: zstd's own checksum. */
export async function verifyTar(
  request: VerifyRequest,
  archive: TarArchive,
  run: typeof runCommand,
): Promise<VerifyFindings> {
  const { mode, signal } = request;
  const file = path.join(request.dataDirectory, ARCHIVE);
  const other = await requireStored(file).then(() => undefined, messageOf);
  if (other !== undefined) return { ...noDifferences(), files: undefined, bytes: 0, problems: [other] };
  if (mode === 'full') return await verifyMembers(request, archive);
  await forgetStored(file);
  const result = await run(['zstd', '-q', '--test', '--', file], { signal });
  if (signal.aborted) throw copyStopped();
  if (result.notFound) throw copyFailure('zstd', result);
  const problems = result.exitCode === 0 ? [] : [`${ARCHIVE}: ${describeFailure('zstd', result)}`];
  return { ...noDifferences(), files: undefined, bytes: 0, problems };
}

/** Reads an archive whole, and compares its members with the digests that they were packed with. */
export async function verifyMembers(
  request: Omit<VerifyRequest, 'mode'>,
  archive: TarArchive,
): Promise<VerifyFindings> {
  const { signal } = request;
  const found = new FoundEntries(request);
  const lost = new Set(request.notInBackup);
  let [files, bytes] = [0, 0];
  const stream = new TarStream(
    (member, digest) => {
      if (digest === undefined) return;
      const record = recordOf(member, digest);
      // What of it could not be read is zeros, and its digest is that of those: nothing of it is good.
      if (record.type === 'f' && isAmong(lost, normalised(member.path))) return;
      if (member.type !== '5') files += 1;
      bytes += member.sizeBytes;
      found.add(record);
      request.onProgress({ files, bytes });
    },
    () => found.untilTaken(),
  );
  const problems: string[] = [];
  stream.on('error', (error) => problems.push(`${archive.name}: ${error.message}, after ${files} files`));
  stream.resume();
  const result = await archive.unpack(stream, signal);
  if (signal.aborted) throw copyStopped();
  if (result.notFound) throw copyFailure('zstd', result);
  if (result.exitCode !== 0 && problems.length === 0)
    problems.push(`${archive.name}: ${describeFailure('zstd', result)}, after ${files} files`);
  if (problems.length === 0 && !stream.isWhole)
    problems.push(`${archive.name} ends too early, after ${files} files`);
  return { ...(await found.compare()), files, bytes, problems };
}
