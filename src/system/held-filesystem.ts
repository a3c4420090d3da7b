import { open, stat, type FileHandle } from 'node:fs/promises';
import { syncfs } from './native.js';

/**
 * The filesystem of a directory, held open for what it fails to write back. The kernel tells that to whoever asks first, and
 * besides to every descriptor that was open by then (syncfs(2), Linux 5.8): who opens it before anything is written hears
 * of all of it, whoever else asked meanwhile, and of what was lost before and nobody heard of.
 */
export class HeldFilesystem {
  readonly #directory: string;
  readonly #handle: FileHandle;
  #syncing: Promise<void> | undefined;

  private constructor(directory: string, handle: FileHandle) {
    this.#directory = directory;
    this.#handle = handle;
  }

  /** Rejects as open(2). Until it is closed the filesystem cannot be unmounted. */
  static async open(directory: string): Promise<HeldFilesystem> {
    return new HeldFilesystem(directory, await open(directory, 'r'));
  }

  /**
   * syncfs(2). Rejects with its error, for what was lost since `open` too, each loss told once; and where the directory is on
   * another filesystem by now, of which nothing is known.
   */
  async sync(): Promise<void> {
    const syncing = syncfs(this.#handle.fd);
    this.#syncing = syncing;
    try {
      await syncing;
    } finally {
      this.#syncing = undefined;
    }
    const [held, now] = await Promise.all([this.#handle.stat(), stat(this.#directory)]);
    if (held.dev !== now.dev) throw new Error(`another filesystem is at ${this.#directory} by now`);
  }

  /** At once; while it is still being synced, which may never end, the descriptor stays until that has. */
  async close(): Promise<void> {
    const close = (): Promise<void> => this.#handle.close();
    if (this.#syncing === undefined) await close();
    else void this.#syncing.then(close, close);
  }
}

/** Calls `use` with the filesystems of these directories, opened one after the other, and closes them. Rejects as open(2), or as `use` does. */
export async function withHeldFilesystems<T>(
  directories: readonly string[],
  use: (held: readonly HeldFilesystem[]) => Promise<T>,
): Promise<T> {
  const held: HeldFilesystem[] = [];
  try {
    for (const directory of directories) held.push(await HeldFilesystem.open(directory));
    return await use(held);
  } finally {
    for (const filesystem of held) await filesystem.close();
  }
}
