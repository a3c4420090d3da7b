import { archiveName, commentOf } from './borg-archive.js';
import { borgPatterns } from './borg-excludes.js';
import { BorgLosses } from './borg-losses.js';
import { parseBorgMessage, parseCreated } from './borg-output.js';
import { borgReference as reference } from './borg-reference.js';
import { WARNINGS, type BorgRepository } from './borg-repository.js';
import type { CopyRequest, CopyResult } from '../engine.js';
import type { MergedTree } from '../repository/merged-tree.js';
import { kibPerSecond } from '../pace.js';
import { readRootAttributes } from '../root-attributes.js';
import { unprovenTrees } from '../backup/tree-origins.js';

/** So often borg saves an unfinished archive: before that, one that failed has left none. */
const CHECKPOINT_S = 1800;
/** Regular files, further names of them included, and those of FIFOs and devices, which it does not tell apart: added, modified, unchanged, changed meanwhile, hard link. */
const FILE = /^[AMUCh]$/;

function argsOf({ sources, backup, consistency, parentOrigins, limitBytesPerSecond }: CopyRequest): string[] {
  const note = { sources: sources.map((source) => source.path), consistency };
  return [
    '--json',
    '--progress',
    '--list',
    '--numeric-ids',
    ...(limitBytesPerSecond === undefined ? [] : [`--upload-ratelimit=${kibPerSecond(limitBytesPerSecond)}`]),
    // It is read anew, and remembered: `disabled` would leave in the cache what was there before, for the next run.
    ...(unprovenTrees(sources, parentOrigins).size > 0 ? ['--files-cache=rechunk,ctime'] : []),
    `--checkpoint-interval=${CHECKPOINT_S}`,
    `--comment=${commentOf(backup.job, note)}`,
    ...borgPatterns(sources).map((pattern) => `--pattern=${pattern}`),
    `::${archiveName(backup)}`,
    '.',
  ];
}

/** Makes the archive of one backup, and writes its reference. Rejects with `copyFailed`. */
export async function createArchive(
  request: CopyRequest,
  repository: BorgRepository,
  tree: MergedTree,
): Promise<CopyResult> {
  const { dataDirectory, sources, backup, signal } = request;
  const losses = new BorgLosses();
  let [files, bytes] = [0, 0];
  const startedAt = performance.now();
  await reference.announce(dataDirectory);
  const result = await repository.run(tree.inTree(repository.argv('create', ...argsOf(request))), {
    signal,
    onStderrLine: (line) => {
      const said = parseBorgMessage(line);
      if (said === undefined) return;
      losses.heard(said);
      if (said.type === 'file_status') files += FILE.test(said.status) ? 1 : 0;
      else if (said.type === 'archive_progress') {
        bytes = said.original_size ?? bytes;
        request.onProgress({ bytes, files });
      }
    },
  });
  const created = parseCreated(result.stdout);
  if (created === undefined || result.exitCode === undefined || result.exitCode > WARNINGS) {
    const hasCheckpoint = performance.now() - startedAt >= CHECKPOINT_S * 1000;
    if (result.exitCode !== undefined && !signal.aborted && !hasCheckpoint)
      await reference.withdraw(dataDirectory);
    throw repository.failure(result);
  }
  request.onProgress({ files, bytes: created.bytes });
  const root = await readRootAttributes(sources);
  await reference.write(dataDirectory, {
    version: 1,
    archive: archiveName(backup),
    id: created.id,
    ...(root === undefined ? {} : { root }),
  });
  return { files, bytes: created.bytes, unreadable: losses.pathsOf(result.exitCode, sources) };
}
