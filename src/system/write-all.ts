import type { FileHandle } from 'node:fs/promises';

/** Writes all of it at `position`: write(2) may take less, where room or a quota ends, and says why only the next time. */
export async function writeAll(
  handle: Pick<FileHandle, 'write'>,
  bytes: Buffer,
  position: number,
): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position + done);
    if (bytesWritten === 0) throw new Error(`a file took ${done} of ${bytes.length} bytes, and no more`);
    done += bytesWritten;
  }
}
