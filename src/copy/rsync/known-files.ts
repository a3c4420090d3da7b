import { type runCommand } from '../../system/run-command.js';
import { copyFailure, copyStopped, TARGET_REFUSES } from '../copy-error.js';
import { readRecordBatches } from '../digests/digest-lines.js';
import { unescapePath, type DigestRecord } from '../digests/digest-record.js';
import { parseDigestLine, TELL_DIGESTS } from './rsync-digests.js';
import { withoutNames } from './rsync-output.js';
import { CONNECTION, FAITHFUL, PARTIAL } from './rsync-transfer.js';
import { SortedList } from '../digests/sorted-list.js';

/** How many names one program is given: little enough to be held in memory. */
const NAMES_AT_ONCE = 20_000;

/** Whether a record tells what is in a file. */
export function isKnown({ type, digest }: DigestRecord): boolean {
  return type === 'f' && /^[0-9a-f]{32}$/.test(digest);
}

/** Those of the sorted list `of` which a sorted list tells the same of, some at a time: their digests, by path. */
export async function* agreeing(of: string, list: string): AsyncGenerator<ReadonlyMap<string, string>> {
  const other = new SortedList(list);
  let names = new Map<string, string>();
  try {
    for await (const batch of readRecordBatches(of)) {
      for (const record of batch) {
        if (!isKnown(record)) continue;
        const found = await other.find(record.path);
        if (found?.digest !== record.digest || found.sizeBytes !== record.sizeBytes) continue;
        names.set(record.path, record.digest);
        if (names.size < NAMES_AT_ONCE) continue;
        yield names;
        names = new Map();
      }
    }
  } finally {
    await other.close();
  }
  if (names.size > 0) yield names;
}

function listOf(names: readonly string[]): Uint8Array {
  return Buffer.from(names.map((name) => `${unescapePath(name)}\0`).join(''), 'latin1');
}

/** Names that are not there are no error. */
const LISTED = ['--from0', '--files-from=-', '--ignore-missing-args'] as const;

interface Using {
  run: typeof runCommand;
  signal: AbortSignal;
}

async function rsync(
  args: readonly string[],
  names: readonly string[],
  onLine: (line: string) => void,
  { run, signal }: Using,
): Promise<void> {
  const result = await run(['rsync', ...LISTED, ...args], {
    input: listOf(names),
    onStdoutLine: onLine,
    signal,
  });
  if (signal.aborted) throw copyStopped();
  const { exitCode, stderr } = result;
  if (exitCode === 0) return;
  // Single files are for the copy to bring once more.
  if (exitCode !== undefined && PARTIAL.has(exitCode) && !TARGET_REFUSES.test(withoutNames(stderr))) return;
  throw copyFailure('rsync', result, exitCode !== undefined && CONNECTION.has(exitCode));
}

/** Links files of one tree into another beside it, with the directories above them; what is there already stays. */
export async function linkFiles(
  { from, to }: { from: string; to: string },
  names: readonly string[],
  using: Using,
): Promise<void> {
  const args = [...FAITHFUL, '--ignore-existing', `--link-dest=${from}`, `${from}/`, `${to}/`];
  await rsync(args, names, () => undefined, using);
}

/** Which files have the same size and time, to the nanosecond, in two trees: what rsync takes for unchanged. */
export async function unchangedFiles(
  { from, to }: { from: string; to: string },
  names: readonly string[],
  using: Using,
): Promise<Set<string>> {
  const found = new Set<string>();
  await rsync(
    ['--dry-run', '--archive', '--modify-window=-1', ...TELL_DIGESTS, `${from}/`, `${to}/`],
    names,
    (line) => {
      const record = line.startsWith('@.f') ? parseDigestLine(line, '') : undefined;
      if (record !== undefined) found.add(record.path);
    },
    using,
  );
  return found;
}

/** Reads files of a tree. Returns those of `records` whose content has their digest; a path is one character per byte. */
export async function intactFiles(
  from: string,
  records: ReadonlyMap<string, string>,
  { algorithm, ...using }: Using & { algorithm: string },
): Promise<string[]> {
  const intact: string[] = [];
  const args = ['--dry-run', '--archive', '--checksum', `--checksum-choice=${algorithm}`, ...TELL_DIGESTS];
  // A directory that is not there, as if they were to be copied into it.
  const nowhere = `${from}+nowhere/`;
  await rsync(
    [...args, `${from}/`, nowhere],
    [...records.keys()],
    (line) => {
      const record = line.startsWith('@') ? parseDigestLine(line, '') : undefined;
      if (record !== undefined && records.get(record.path) === record.digest) intact.push(record.path);
    },
    using,
  );
  return intact;
}
