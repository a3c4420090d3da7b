import { literalForPython } from './borg-excludes.js';
import { BorgExtractLosses } from './borg-extract-losses.js';
import { parseAttributeComplaint, parseBorgMessage } from './borg-output.js';
import { WARNINGS, type BorgRepository } from './borg-repository.js';
import { batchesOf } from '../path-batches.js';
import { parentsOf, pathInBackup } from '../source-layout.js';
import type { Wanted } from '../repository/staged-restore.js';

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
  extraction: Wanted,
  signal: AbortSignal,
): Promise<void> {
  for (const paths of batchesOf(extraction.paths))
    await extractPaths(repository, archive, { ...extraction, paths }, signal);
}

async function extractPaths(
  repository: BorgRepository,
  archive: string,
  { staged, paths, unreadable }: Wanted,
  signal: AbortSignal,
): Promise<void> {
  const parents = [...new Set(paths.flatMap(parentsOf))];
  const wanted = [...parents.map((one) => patternOf('pf', one)), ...paths.map((one) => patternOf('pp', one))];
  // What cannot be changed or removed any more can neither be moved into place, nor be removed after a drill.
  const how = ['--numeric-ids', '--sparse', '--noflags'];
  const argv = repository.argv('extract', '--list', ...how, `::${archive}`, ...wanted);
  const losses = new BorgExtractLosses(staged, (live) => unreadable.add(live));
  const result = await repository.run(argv, {
    cwd: staged,
    signal,
    onStderrLine: (line) => {
      const said = parseBorgMessage(line);
      if (said !== undefined) losses.heard(said);
    },
  });
  const isPartial = result.exitCode === WARNINGS && losses.hasWarned && !losses.isRefused;
  if (result.exitCode !== 0 && !isPartial) {
    // An attribute for which a filesystem has no place is no full disk.
    const said = result.stderr.split('\n').filter((line) => parseAttributeComplaint(line) === undefined);
    throw repository.failure({ ...result, stderr: said.join('\n') });
  }
  if (isPartial) losses.end(paths);
}
