import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { withLock } from './lock.js';

/** Outside the tree, so that it outlives a checkout. */
export const CACHE_DIRECTORY = process.env['FSBACKUP_LAB_CACHE'] ?? '/var/cache/fsbackup-lab';

/** So many of a kind stay; what was used just now stays as well, since another run may be about to open it. */
const KEPT = 2;
const IN_USE_MS = 2 * 60 * 60_000;

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

async function prune(kindDirectory: string): Promise<void> {
  const entries = await Promise.all(
    (await readdir(kindDirectory)).map(async (name) => {
      const full = path.join(kindDirectory, name);
      return { full, usedAt: (await stat(full).catch(() => undefined))?.mtimeMs ?? 0 };
    }),
  );
  const old = entries.toSorted((a, b) => b.usedAt - a.usedAt).slice(KEPT);
  for (const { full, usedAt } of old) {
    if (Date.now() - usedAt > IN_USE_MS) await rm(full, { recursive: true, force: true });
  }
}

/**
 * The directory of what `recipe` makes: built when it is not there, complete or not there at all. Concurrent runs that
 * want the same wait for the first. What it holds must not be written to.
 */
export async function cached(recipe: Recipe): Promise<string> {
  const kindDirectory = path.join(CACHE_DIRECTORY, recipe.kind);
  const result = path.join(kindDirectory, keyOf(recipe.inputs));
  await mkdir(kindDirectory, { recursive: true });
  if (!existsSync(result)) {
    await withLock(path.join(CACHE_DIRECTORY, `${recipe.kind}.lock`), async () => {
      if (existsSync(result)) return;
      console.error(`lab: building ${recipe.kind}`);
      const startedAt = Date.now();
      const temporary = await mkdtemp(path.join(CACHE_DIRECTORY, `new-${recipe.kind}-`));
      try {
        const directory = path.join(temporary, 'result');
        await mkdir(directory);
        await recipe.build(directory);
        await writeFile(path.join(directory, 'inputs'), `${recipe.inputs.join('\n')}\n`);
        await rename(directory, result);
      } finally {
        await rm(temporary, { recursive: true, force: true });
      }
      console.error(`lab: built ${recipe.kind} in ${Math.round((Date.now() - startedAt) / 1000)} s`);
    });
  }
  const now = new Date();
  await utimes(result, now, now);
  await prune(kindDirectory);
  return result;
}
