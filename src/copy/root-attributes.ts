import { chmod, chown, stat, utimes } from 'node:fs/promises';
import * as z from 'zod';
import type { CopySource } from './engine.js';

/** Owner, mode and times of a source `/`: a repository's trees begin with what is in the root, and not with itself. */
export const rootAttributes = z.object({
  uid: z.number(),
  gid: z.number(),
  mode: z.number(),
  /** In seconds, to the microsecond. */
  mtime: z.number(),
});

export type RootAttributes = z.infer<typeof rootAttributes>;

/** Those of the source `/`; undefined where it is none of the sources. */
export async function readRootAttributes(
  sources: readonly CopySource[],
): Promise<RootAttributes | undefined> {
  const root = sources.find((source) => source.path === '/');
  if (root === undefined) return undefined;
  const { uid, gid, mode, mtimeMs } = await stat(root.readFrom);
  return { uid, gid, mode: mode & 0o7777, mtime: mtimeMs / 1000 };
}

export async function writeRootAttributes(
  directory: string,
  { uid, gid, mode, mtime }: RootAttributes,
): Promise<void> {
  await chown(directory, uid, gid);
  await chmod(directory, mode);
  await utimes(directory, mtime, mtime);
}
