import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, stat, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { withLock } from './lock.js';
import { must } from './process.js';

/** Outside the tree, so that it outlives a checkout. */
export const CACHE_DIRECTORY = process.env['FSBACKUP_LAB_CACHE'] ?? '/var/cache/fsbackup-lab';

/** So many of a kind stay; what was used just now stays as well, since another run may be about to open it. */
const KEPT = 2;
const IN_USE_MS = 2 * 60 * 60_000;
/** Of every kind. */
const STALE_MS = 14 * 24 * 60 * 60_000;

/** Something built, for the cache. */
export interface Recipe {
  /** What it is, e.g. `rootfs-6.1`: of each kind the last used ones are kept. */
  kind: string;
  /** All that the result depends on. */
  inputs: readonly string[];
  /** Makes it in an empty directory. */
  build: (directory: string) => Promise<void>;
}

function keyOf(inputs: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(inputs)).digest('hex').slice(0, 16);
}

/** Removes a tree, but nothing that is mounted in it: builds mount things below their root. */
async function removeTree(directory: string): Promise<void> {
  await must(['rm', '-rf', '--one-file-system', directory]);
}

async function withTimes(directory: string): Promise<{ full: string; usedAt: number }[]> {
  const names = await readdir(directory);
  return await Promise.all(
    names.map(async (name) => {
      const full = path.join(directory, name);
      return { full, usedAt: (await stat(full).catch(() => undefined))?.mtimeMs ?? Date.now() };
    }),
  );
}

async function prune(kindDirectory: string): Promise<void> {
  const old = (await withTimes(kindDirectory)).toSorted((a, b) => b.usedAt - a.usedAt).slice(KEPT);
  for (const { full, usedAt } of old) {
    if (Date.now() - usedAt > IN_USE_MS) await removeTree(full);
  }
}

/** Removes what has not been used for long: of kernels that the archive has no more, of guests that were dropped. */
export async function pruneCache(): Promise<void> {
  const kinds = path.join(CACHE_DIRECTORY, 'built');
  for (const kind of await readdir(kinds).catch(() => [])) {
    for (const { full, usedAt } of await withTimes(path.join(kinds, kind))) {
      if (Date.now() - usedAt > STALE_MS) await removeTree(full);
    }
  }
}

/**
 * The directory of what `recipe` makes: built when it is not there, complete or not there at all. Concurrent runs that
 * want the same wait for the first. What it holds must not be written to.
 */
export async function cached(recipe: Recipe): Promise<string> {
  const kindDirectory = path.join(CACHE_DIRECTORY, 'built', recipe.kind);
  const result = path.join(kindDirectory, keyOf(recipe.inputs));
  const locks = path.join(CACHE_DIRECTORY, 'locks');
  await mkdir(kindDirectory, { recursive: true });
  await mkdir(locks, { recursive: true });
  if (!existsSync(result)) {
    await withLock(path.join(locks, recipe.kind), async () => {
      if (existsSync(result)) return;
      console.error(`lab: building ${recipe.kind}`);
      const startedAt = Date.now();
      const temporary = path.join(kindDirectory, 'new');
      // Of a build that was killed: this one has the lock.
      await removeTree(temporary);
      try {
        const directory = path.join(temporary, 'result');
        await mkdir(directory, { recursive: true });
        await recipe.build(directory);
        await writeFile(path.join(directory, 'inputs'), `${recipe.inputs.join('\n')}\n`);
        await rename(directory, result);
      } finally {
        await removeTree(temporary);
      }
      console.error(`lab: built ${recipe.kind} in ${Math.round((Date.now() - startedAt) / 1000)} s`);
    });
  }
  const now = new Date();
  await utimes(result, now, now);
  await prune(kindDirectory);
  return result;
}
