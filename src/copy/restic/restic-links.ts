import type { runCommand } from '../../system/run-command.js';
import type { MergedTree } from '../repository/merged-tree.js';
import type { ResticRepository } from './restic-repository.js';
import { STANDS_FOR_BYTE } from './restic-restore.js';

/**
 * The warning of symlinks whose targets restic has changed: before 0.16 it stores U+FFFD for each byte of them that is no
 * UTF-8, and tells nobody. Undefined: there are none. It may name one that an exclude left out.
 */
export async function describeChangedLinks(
  { names, inTree }: Pick<MergedTree, 'names' | 'inTree'>,
  { repository, signal }: { repository: Pick<ResticRepository, 'keepsAllLinks'>; signal: AbortSignal },
  run: typeof runCommand,
): Promise<string | undefined> {
  if (await repository.keepsAllLinks()) return undefined;
  let count = 0;
  let first = '';
  const trees = names.map((name) => `./${name}`);
  const find = ['find', ...trees, '-xdev', '-type', 'l', '-printf', String.raw`%l\0%p\n`] as const;
  await run(inTree([...find]), {
    signal,
    onStdoutLine: (line) => {
      // What is read as text has this character for each such byte.
      const [target = '', place = ''] = line.split('\0');
      if (!target.includes(STANDS_FOR_BYTE)) return;
      count += 1;
      if (count === 1) first = place.replace(/^\.(?:\/\.)?/, '');
    },
  });
  if (count === 0) return undefined;
  const links =
    count === 1
      ? `a symlink (${first}) has a target`
      : `${count} symlinks (the first: ${first}) have targets`;
  return `${links} with bytes that are no UTF-8, which restic before 0.16 changes: restored, it leads elsewhere; install a later restic, or take another engine`;
}
