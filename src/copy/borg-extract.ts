import { parseBorgMessage, parseWarning } from './borg-output.js';
import { toLivePath } from './borg-reference.js';
import { WARNINGS, type BorgRepository } from './borg-repository.js';
import { parentsOf, pathInBackup } from './source-layout.js';
import type { Extraction } from './staged-restore.js';

/** Brings an archive, or some paths of it, to the directory of an extraction. */
export async function extractArchive(
  repository: BorgRepository,
  archive: string,
  { staged, paths, unreadable }: Extraction,
  signal: AbortSignal,
): Promise<void> {
  const parents = [...new Set(paths.flatMap(parentsOf))];
  // `pf:` is the directory alone, `pp:` all below it too.
  const wanted = [
    ...parents.map((one) => `pf:${pathInBackup(one)}`),
    ...paths.map((one) => `pp:${pathInBackup(one)}`),
  ];
  const argv = repository.argv('extract', '--numeric-ids', '--sparse', `::${archive}`, ...wanted);
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
