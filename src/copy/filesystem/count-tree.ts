import { lstat, opendir } from 'node:fs/promises';
import { errnoOf } from '../../errors.js';
import { copyStopped } from '../copy-error.js';
import type { CopySource } from '../engine.js';
import { nestedIn } from '../source-layout.js';

/** What there is to copy. */
export interface TreeCount {
  /** Regular files, by their names: as the engines count that keep repositories. */
  files: number;
  bytes: number;
}

interface Walk {
  count: TreeCount;
  device: number;
  /** Directories that belong to other sources. */
  nested: ReadonlySet<string>;
  signal: AbortSignal;
}

async function walk(directory: Buffer, relative: string, context: Walk): Promise<void> {
  const { count, device, nested, signal } = context;
  if (signal.aborted) throw copyStopped();
  // Node's types know of no directory whose names are bytes.
  for await (const entry of await opendir(directory, { encoding: 'buffer' as BufferEncoding })) {
    const name = entry.name as unknown as Buffer;
    const inside = relative + (relative === '' ? '' : '/') + name.toString('latin1');
    if (nested.has(inside)) continue;
    const file = Buffer.concat([directory, Buffer.from('/'), name]);
    try {
      if (entry.isDirectory()) {
        if ((await lstat(file)).dev === device) await walk(file, inside, context);
      } else if (entry.isFile()) {
        count.files += 1;
        count.bytes += (await lstat(file)).size;
      }
    } catch (error) {
      // Whoever copies it will find the same.
      if (errnoOf(error) === undefined) throw error;
    }
  }
}

/** Counts what the sources hold, without entering other filesystems. What cannot be read counts for nothing. */
export async function countSources(sources: readonly CopySource[], signal: AbortSignal): Promise<TreeCount> {
  const count: TreeCount = { files: 0, bytes: 0 };
  for (const source of sources) {
    const root = Buffer.from(source.readFrom, 'utf8');
    const nested = nestedIn(source, sources).map((one) => Buffer.from(one, 'utf8').toString('latin1'));
    const { dev: device } = await lstat(root);
    await walk(root, '', { count, device, nested: new Set(nested), signal });
  }
  return count;
}
