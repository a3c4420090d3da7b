import { TARGET_REFUSES } from '../copy-error.js';
import type { RestoreRequest } from '../engine.js';
import { batchesOf } from '../path-batches.js';
import { literalForRestic } from './restic-excludes.js';
import { parseIgnored, parseMessage } from './restic-output.js';
import { toLivePath } from './restic-reference.js';
import type { ResticRepository } from './restic-repository.js';
import type { Extraction } from '../repository/staged-restore.js';

/** What restic tells in place of a byte that is no UTF-8, and how it is asked for such: a class of one, for itself. */
export const STANDS_FOR_BYTE = '\u{fffd}';

function includeOf(live: string): string {
  return `--include=${literalForRestic(live).replaceAll(STANDS_FOR_BYTE, `[${STANDS_FOR_BYTE}]`)}`;
}

/** Brings a snapshot, or some paths of it, to the directory of an extraction. */
export async function extractSnapshot(
  repository: ResticRepository,
  snapshot: string,
  extraction: Extraction,
  request: Pick<RestoreRequest, 'signal' | 'onProgress'>,
): Promise<void> {
  for (const paths of batchesOf(extraction.paths))
    await extractPaths(repository, snapshot, { ...extraction, paths }, request);
}

async function extractPaths(
  repository: ResticRepository,
  snapshot: string,
  { staged, paths, unreadable }: Extraction,
  { signal, onProgress }: Pick<RestoreRequest, 'signal' | 'onProgress'>,
): Promise<void> {
  const sparse = (await repository.canMakeHoles()) ? ['--sparse'] : [];
  const includes = paths.map(includeOf);
  let complaints = 0;
  let isRefused = false;
  const result = await repository.run(
    ['restore', ...sparse, '--json', `--target=${staged}`, ...includes, '--', snapshot],
    {
      signal,
      onStdoutLine: (line) => {
        const said = parseMessage(line);
        if (said?.message_type !== 'status') return;
        const { bytes_restored: bytes = 0, files_restored: entries, total_files: totalEntries } = said;
        // "files/dirs", as restic says itself where it tells people.
        onProgress({
          bytes,
          files: 0,
          ...(entries === undefined || totalEntries === undefined ? {} : { entries, totalEntries }),
        });
      },
      onStderrLine: (line) => {
        const lost = parseIgnored(line);
        if (lost === undefined) return;
        complaints += 1;
        isRefused ||= TARGET_REFUSES.test(line);
        unreadable.add(toLivePath(lost, staged));
      },
    },
  );
  // restic goes on after each file that a full disk does not take: to us that is no backup with some files missing.
  const isPartial =
    result.exitCode === 1 && complaints > 0 && !isRefused && /There were \d+ errors/.test(result.stderr);
  if (result.exitCode !== 0 && !isPartial) throw repository.failure(result);
}
