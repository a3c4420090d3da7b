import { chmod, open } from 'node:fs/promises';
import { must } from '../process.js';

/** Makes `file` a sparse ext4 image with the content of `directory`. It has no journal: nobody repairs it. */
export async function makeImage(
  file: string,
  options: { directory: string; sizeMiB: number },
): Promise<void> {
  const handle = await open(file, 'wx', 0o600);
  await handle.truncate(options.sizeMiB * 1024 * 1024);
  await handle.close();
  await chmod(options.directory, 0o755);
  await must(['mkfs.ext4', '-q', '-F', '-O', '^has_journal', '-m', '0', '-d', options.directory, file]);
}
