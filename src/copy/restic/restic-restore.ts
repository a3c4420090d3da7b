import path from 'node:path';
import { TARGET_REFUSES } from '../copy-error.js';
import type { RestoreRequest } from '../engine.js';
import { batchesOf } from '../path-batches.js';
import { printable } from '../printable.js';
import type { CommandResult } from '../../system/run-command.js';

import { literalForRestic } from './restic-excludes.js';
import { parseIgnored, parseMessage } from './restic-output.js';
import { toLivePath } from './restic-reference.js';
import type { ResticRepository } from './restic-repository.js';
import type { Wanted } from '../repository/staged-restore.js';

/** What restic tells in place of a byte that is no UTF-8, and how it is asked for such: a class of one, for itself. */
export const STANDS_FOR_BYTE = '\u{fffd}';

function includeOf(live: string): string {
  return `--include=${literalForRestic(live).replaceAll(STANDS_FOR_BYTE, `[${STANDS_FOR_BYTE}]`)}`;
}

/** `ignoring error for PATH: xattr.lset …`, or that in JSON: the target has no room for an attribute, and may have for everything else. */
const ATTRIBUTE = /(?:^ignoring error for \/.*?: |"message":\s*")xattr\.l?set\b/i;

/** What a restore by restic tells meanwhile. */
interface Watch extends Pick<RestoreRequest, 'signal' | 'onProgress'> {
  /** It could not set an attribute of a file that it names, and has set none of that file after that one. */
  onAttribute?: () => void;
}

/** Brings a snapshot, or some paths of it, to the directory of an extraction. */
export async function extractSnapshot(
  repository: ResticRepository,
  snapshot: string,
  wanted: Wanted,
  watch: Watch,
): Promise<void> {
  for (const paths of batchesOf(wanted.paths))
    await extractPaths(repository, snapshot, { ...wanted, paths }, watch);
}

/** What restic said of what it could not restore. */
class Complaints {
  readonly #wanted: Wanted;
  readonly #onAttribute: (() => void) | undefined;
  #count = 0;
  #unexplained: string | undefined;
  #isRefused = false;

  constructor(wanted: Wanted, onAttribute: (() => void) | undefined) {
    this.#wanted = wanted;
    this.#onAttribute = onAttribute;
  }

  /** For each line of it. */
  heard(line: string): void {
    const lost = parseIgnored(line);
    if (lost === undefined) {
      if (parseMessage(line)?.message_type === 'error') this.#unexplained ??= line;
      return;
    }
    this.#count += 1;
    if (ATTRIBUTE.test(line)) this.#onAttribute?.();
    else this.#isRefused ||= TARGET_REFUSES.test(line);
    this.#wanted.unreadable.add(toLivePath(lost, this.#wanted.staged));
  }

  /**
   * Whether what it ended with is that some files are missing: all that it counts are told then, those that it did not name as what
   * may be anything of what was wanted.
   */
  tells({ exitCode, stderr }: CommandResult): boolean {
    const counted = /There were (\d+) errors/.exec(stderr)?.[1];
    if (exitCode !== 1 || this.#count === 0 || this.#isRefused || counted === undefined) return false;
    if (Number(counted) > this.#count || this.#unexplained !== undefined) {
      const { paths, unreadable } = this.#wanted;
      const why = this.#unexplained ?? `restic counts ${counted} errors, and names ${this.#count}`;
      for (const live of paths.length === 0 ? ['/'] : paths)
        unreadable.add(path.join(live, `(some files: ${printable(Buffer.from(why).toString('latin1'))})`));
    }
    return true;
  }
}

async function extractPaths(
  repository: ResticRepository,
  snapshot: string,
  wanted: Wanted,
  { signal, onProgress, onAttribute }: Watch,
): Promise<void> {
  const sparse = (await repository.canMakeHoles()) ? ['--sparse'] : [];
  const includes = wanted.paths.map(includeOf);
  const complaints = new Complaints(wanted, onAttribute);
  const result = await repository.run(
    ['restore', ...sparse, '--json', `--target=${wanted.staged}`, ...includes, '--', snapshot],
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
      onStderrLine: (line) => complaints.heard(line),
    },
  );
  // restic goes on after each file that a full disk does not take: to us that is no backup with some files missing.
  if (result.exitCode === 0 || complaints.tells(result)) return;
  const stderr = result.stderr.split('\n').filter((line) => !ATTRIBUTE.test(line));
  throw repository.failure({ ...result, stderr: stderr.join('\n') });
}
