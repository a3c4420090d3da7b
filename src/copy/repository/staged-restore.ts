import { lstat, mkdir, readdir, readlink } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf } from '../../errors.js';
import type { runCommand } from '../../system/run-command.js';
import { bytesOfPath } from '../byte-path.js';
import { UnreadablePaths } from '../copy-error.js';
import type { CopyResult, RestoreRequest } from '../engine.js';
import { mergeTree } from './merge-tree.js';
import { printable } from '../printable.js';
import { withStaging } from '../restore/restore-staging.js';
import { writeRootAttributes, type RootAttributes } from '../root-attributes.js';
import { pathInBackup, topmost } from '../source-layout.js';

/** What an engine's program is to bring back. */
export interface Wanted {
  /** An empty directory: `/srv/x` is to become `<staged>/srv/x`. */
  staged: string;
  /** Empty: everything. None lies in another. */
  paths: readonly string[];
  unreadable: UnreadablePaths;
}

export interface Extraction extends Wanted {
  /** A private directory on the same filesystem, for whatever is needed meanwhile; `staged` lies in it. */
  directory: string;
}

export interface StagedRestoreDependencies {
  run: typeof runCommand;
  /** Of `/`, where that was a source: no program has a place for them. */
  root: RootAttributes | undefined;
  /**
   * In paths that the engine told: a character that may stand for a byte that is no UTF-8. Of such a path it is not known
   * what its file is called, and nobody looks whether it is there. A symlink to one is not what it was. Undefined: it tells
   * all bytes.
   */
  standsForByte?: string;
  /** Further names of FIFOs and devices count as files, as of whoever tells of all hard links alike. */
  countsLinksOfSpecial?: true;
  /** Resolves to what somebody should know who believes that all is as it was. */
  extract: (extraction: Extraction) => Promise<readonly string[] | void>;
}

async function deviceOf(directory: string): Promise<number | undefined> {
  try {
    const stat = await lstat(directory);
    return stat.isDirectory() ? stat.dev : undefined;
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT' || errno === 'ENOTDIR') return undefined;
    throw error;
  }
}

/** The deepest directory on the way from `destination` to what is to come there: it lies on the right filesystem. */
async function deepest(destination: string, live: string): Promise<{ directory: string; dev: number }> {
  for (let at = path.join(destination, pathInBackup(live)); ; at = path.dirname(at)) {
    const dev = await deviceOf(at);
    if (dev !== undefined || at === destination) return { directory: at, dev: dev ?? 0 };
  }
}

/** One extraction for each filesystem that something goes to. */
async function groupByFilesystem(
  destination: string,
  wanted: readonly string[],
): Promise<{ directory: string; paths: string[] }[]> {
  const groups = new Map<number, { directory: string; paths: string[] }>();
  for (const live of wanted) {
    const { directory, dev } = await deepest(destination, live);
    const group = groups.get(dev);
    if (group === undefined) groups.set(dev, { directory, paths: [live] });
    else group.paths.push(live);
  }
  return [...groups.values()];
}

/** What was restored: regular files by their names, as the engines do that keep repositories, and what of it is another. */
interface Tally {
  files: number;
  bytes: number;
  /** FIFOs and devices with several names, of which one was met; undefined: they do not count at all. */
  special: Set<string> | undefined;
  /** In the target of a symlink it says that this was changed. */
  standsForByte: string | undefined;
}

/** `onChanged` is told each symlink that was changed. */
async function count(directory: Buffer, tally: Tally, onChanged: (link: Buffer) => void): Promise<void> {
  for (const entry of await readdir(directory, { encoding: 'buffer', withFileTypes: true })) {
    const file = Buffer.concat([directory, Buffer.from('/'), entry.name]);
    if (entry.isDirectory()) await count(file, tally, onChanged);
    else if (entry.isFile()) {
      tally.files += 1;
      tally.bytes += (await lstat(file)).size;
    } else if (entry.isSymbolicLink()) {
      if (tally.standsForByte === undefined) continue;
      if ((await readlink(file, 'buffer')).includes(tally.standsForByte)) onChanged(file);
    } else if (tally.special !== undefined) {
      const { dev, ino, nlink } = await lstat(file);
      if (nlink > 1 && tally.special.has(`${dev}:${ino}`)) tally.files += 1;
      tally.special.add(`${dev}:${ino}`);
    }
  }
}

/**
 * Restores by a program that would write through symlinks, or over what it is not asked for: it restores to a private
 * directory beside, and what it restored is then moved into place. Nothing is deleted. See `CopyEngine.restore`.
 */
export async function restoreStaged(
  request: RestoreRequest,
  { run, root, standsForByte, countsLinksOfSpecial, extract }: StagedRestoreDependencies,
): Promise<CopyResult> {
  const { destination, sources, signal } = request;
  const asked = topmost(request.paths);
  const isAll = asked.length === 0 || asked.includes('/');
  const unreadable = new UnreadablePaths();
  const warnings = new Set<string>();
  const special = countsLinksOfSpecial && new Set<string>();
  const tally: Tally = { files: 0, bytes: 0, special, standsForByte };
  const groups = await groupByFilesystem(destination, isAll ? topmost(sources) : asked);
  for (const group of groups) {
    await withStaging(group.directory, request.journal, async (directory) => {
      // What an engine needs beside it lies in the same private directory.
      const staged = path.join(directory, 'tree');
      await mkdir(staged, { mode: 0o700 });
      const paths = isAll && groups.length === 1 ? [] : group.paths;
      const warned = await extract({ staged, directory, paths, unreadable });
      for (const warning of warned ?? []) warnings.add(warning);
      signal.throwIfAborted();
      for (const live of isAll ? [] : group.paths) {
        if (standsForByte !== undefined && live.includes(standsForByte)) continue;
        try {
          await lstat(Buffer.concat([Buffer.from(`${staged}/`), bytesOfPath(pathInBackup(live))]));
        } catch (error) {
          if (errnoOf(error) === undefined) throw error;
          unreadable.add(printable(bytesOfPath(live).toString('latin1')));
        }
      }
      await count(Buffer.from(staged), tally, (link) =>
        unreadable.add(printable(link.subarray(Buffer.byteLength(staged)).toString('latin1'))),
      );
      const { files, bytes } = tally;
      request.onProgress({ files, bytes });
      await mergeTree(staged, destination, { run, unreadable, signal });
    });
  }
  if (isAll && root !== undefined) await writeRootAttributes(destination, root);
  const { files, bytes } = tally;
  const told = warnings.size === 0 ? {} : { warnings: [...warnings] };
  return { files, bytes, unreadable: unreadable.paths, ...told };
}
