import { createHash } from 'node:crypto';
import { chmod, readdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { prebuild } from '../../test/chaos/tools.js';
import { cached } from '../cache.js';
import { must } from '../process.js';

/** All that what is compiled depends on; directories with everything below them. */
const SOURCES = [
  'bin/run.js',
  'native',
  'oclif.manifest.json',
  'package-lock.json',
  'package.json',
  'scripts/build-native',
  'scripts/bundle.ts',
  'src',
  'test/chaos/load/load.c',
  'test/support/fault-build',
  'test/support/record-writer.ts',
  'test/support/records.ts',
] as const;

async function filesIn(checkout: string, name: string): Promise<string[]> {
  const file = path.join(checkout, name);
  const entries = await readdir(file, { recursive: true, withFileTypes: true }).catch(() => undefined);
  if (entries === undefined) return [file];
  const built = path.join(checkout, 'native/build');
  return entries
    .filter((entry) => entry.isFile() && !entry.parentPath.startsWith(built))
    .map((entry) => path.join(entry.parentPath, entry.name))
    .toSorted();
}

async function digestOf(checkout: string): Promise<string> {
  const digest = createHash('sha256');
  for (const name of SOURCES)
    for (const file of await filesIn(checkout, name))
      digest.update(`${path.relative(checkout, file)}\0`).update(await readFile(file));
  return digest.digest('hex');
}

/**
 * The directory of what tests need, which guests have no compiler for: an fsbackup whose boundaries act, the load, and the
 * writer of records. It lies in the lab's cache, not in the checkout: nothing of it comes near what is installed.
 */
export async function buildChaosTools(checkout: string): Promise<string> {
  return await cached({
    kind: 'chaos-tools',
    inputs: [await digestOf(checkout), await must(['cc', '--version'])],
    build: async (directory) => {
      await chmod(directory, 0o700);
      await prebuild(directory);
      // The one of this checkout; in a guest it finds that above it.
      await rm(path.join(directory, 'node_modules'));
    },
  });
}
