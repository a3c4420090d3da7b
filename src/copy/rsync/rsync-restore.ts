import type { runCommand } from '../../system/run-command.js';
import { nulTerminated } from '../byte-path.js';
import type { CopyResult, RestoreRequest } from '../engine.js';
import { livePaths, newTally, resultOf, transfer } from './rsync-transfer.js';
import { pathInBackup, topmost } from '../source-layout.js';

/** A tree that the rsync engine wrote, as rsync is told of it. */
export interface StoredTree {
  /** Its directory, where it lies. */
  directory: string;
  /** What rsync takes as its source: the directory, or that of another host. */
  readFrom: string;
  /** More arguments for rsync. */
  args: readonly string[];
  /** Runs programs on the host that it lies on; undefined: this one. */
  runThere?: typeof runCommand;
}

/** The tree of a backup in a directory of this host. */
export function localTree(directory: string): StoredTree {
  return { directory, readFrom: directory, args: [] };
}

/** `CopyEngine.restore` for a tree that the rsync engine wrote. */
export async function restoreRsync(
  request: RestoreRequest,
  { directory, readFrom, args, runThere }: StoredTree,
  run: typeof runCommand,
): Promise<CopyResult> {
  const { destination, isEmpty, paths, parents } = request;
  const wanted = topmost(paths.length === 0 ? request.sources : paths).map(pathInBackup);
  const tally = newTally();
  const toLivePath = livePaths({ [directory]: '/', [destination]: '/' }, '/');
  const trees = { from: runThere === undefined ? directory : undefined, to: destination };
  // What a damage or somebody changed there may still have the size and time that it had.
  const compared = isEmpty === true ? [] : ['--checksum'];
  const bring = async (names: readonly string[], how: readonly string[]): Promise<void> => {
    // A list gives parent directories their attributes and leaves the destination's own alone; a source `/` is just it.
    const isAll = names.includes('');
    const listed = isAll ? [] : [...how, '--from0', '--files-from=-'];
    const input = isAll ? undefined : nulTerminated(names);
    await transfer(
      [...args, ...compared, ...listed, `${readFrom}/`, `${destination}/`],
      { request, tally, toLivePath, trees, under: request.under, input },
      run,
    );
  };
  const own = parents === undefined ? [] : ['--no-implied-dirs'];
  const above = (parents ?? []).map(pathInBackup);
  if (above.length > 0) await bring(above, own);
  await bring(wanted, ['--recursive', ...own]);
  // Their times were right until something was made in them.
  if (above.length > 0) await bring(above, own);
  return await resultOf(tally);
}
