import { once } from 'node:events';
import { execa } from 'execa';

/**
 * Takes an flock(2) on a file, waiting as long as it takes, and runs `body` under it. A helper process holds the lock
 * and ends with this one, however that ends.
 */
export async function withLock<T>(file: string, body: () => Promise<T>): Promise<T> {
  const holder = execa('flock', [file, 'sh', '-c', 'echo held; exec cat'], {
    reject: false,
    buffer: false,
    stdin: 'pipe',
    stdout: 'pipe',
  });
  const [said] = await Promise.race([
    once(holder.stdout, 'data'),
    once(holder, 'exit').then(() => [undefined]),
  ]);
  if (said === undefined) throw new Error(`cannot lock ${file}`);
  try {
    return await body();
  } finally {
    holder.stdin.end();
    await holder;
  }
}
