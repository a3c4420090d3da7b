import { literalForPython } from './borg-excludes.js';
import { parseBorgMessage, parseWarning } from './borg-output.js';
import { toLivePath } from './borg-reference.js';
import { WARNINGS, type BorgRepository } from './borg-repository.js';
import { batchesOf } from '../path-batches.js';
import { parentsOf, pathInBackup } from '../source-layout.js';
import type { Extraction } from '../repository/staged-restore.js';

/** What borg tells in place of a byte that is no UTF-8, or of itself. */
export const STANDS_FOR_BYTE = '?';

/** `pf:` is the directory alone, `pp:` all below it too; what has bytes that borg does not tell must look like it. */
function patternOf(kind: 'pf' | 'pp', live: string): string {
  const inside = pathInBackup(live);
  if (!inside.includes(STANDS_FOR_BYTE)) return `${kind}:${inside}`;
  const names = inside.split(STANDS_FOR_BYTE).map(literalForPython);
  return `re:^${names.join(String.raw`[?\udc80-\udcff]`)}${kind === 'pf' ? '$' : '(?:/|$)'}`;
}

/** Brings an archive, or some paths of it, to the directory of an extraction. */
export async function extractArchive(
  repository: BorgRepository,
  archive: string,
  extraction: Extraction,
  signal: AbortSignal,
): Promise<void> {
  for (const paths of batchesOf(extraction.paths))
    await extractPaths(repository, archive, { ...extraction, paths }, signal);
}

async function extractPaths(
  repository: BorgRepository,
  archive: string,
  { staged, paths, unreadable }: Extraction,
  signal: AbortSignal,
): Promise<void> {
  const parents = [...new Set(paths.flatMap(parentsOf))];
  const wanted = [...parents.map((one) => patternOf('pf', one)), ...paths.map((one) => patternOf('pp', one))];
  // What cannot be changed or removed any more can neither be moved into place, nor be removed after a drill.
  const how = ['--numeric-ids', '--sparse', '--noflags'];
  const argv = repository.argv('extract', ...how, `::${archive}`, ...wanted);
  let complaints = 0;
  const result = await repository.run(argv, {
    cwd: staged,
    signal,
    onStderrLine: (line) => {
      const said = parseBorgMessage(line);
      if (said?.type !== 'log_message') return;
      // A path that is not in the archive is noticed by its absence.
      if (/never matched/.test(said.message)) complaints += 1;
      const lost = parseWarning(said);
      if (lost === undefined) return;
      complaints += 1;
      unreadable.add(toLivePath(lost));
    },
  });
  if (result.exitCode !== 0 && !(result.exitCode === WARNINGS && complaints > 0)) {
    throw repository.failure(result);
  }
}
