import { chmod, open } from 'node:fs/promises';

/**
 * Has a program write a file that nobody but root may read (0600), from its first byte on and when it is done: zstd would make
 * it readable to all, or make it anew. Rejects as `write` does.
 */
export async function withPrivateFile<T>(file: string, write: () => Promise<T>): Promise<T> {
  await (await open(file, 'w', 0o600)).close();
  const written = await write();
  await chmod(file, 0o600);
  return written;
}
