import { close } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { openDirectory } from './native.js';

const closeDescriptor = promisify(close);

/** A directory that is held open. */
export interface PinnedDirectory {
  /** Of open(2) with O_PATH. */
  fd: number;
  /** Leads this process, and the programs that it runs, to this very directory, whatever becomes of its name meanwhile. */
  path: string;
}

/**
 * Opens a directory that no symlink leads to, calls `use`, and closes it. With `beneath` the path is relative to that
 * directory and stays in it. Rejects as `openDirectory` (ELOOP, ENOENT, ENOTDIR), or as `use` does.
 */
export async function withPinnedDirectory<T>(
  directory: string,
  use: (pinned: PinnedDirectory) => Promise<T>,
  beneath?: PinnedDirectory,
): Promise<T> {
  const fd = await openDirectory(directory, beneath?.fd);
  try {
    return await use({ fd, path: `/proc/${process.pid}/fd/${fd}` });
  } finally {
    await closeDescriptor(fd);
  }
}

/** Calls `use` with a path of what bears the name `file`, through its directory, which is held open as above. */
export async function withPinnedName<T>(file: string, use: (pinned: string) => Promise<T>): Promise<T> {
  return await withPinnedDirectory(path.dirname(file), (above) =>
    use(path.join(above.path, path.basename(file))),
  );
}
