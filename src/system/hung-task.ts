import { readFile } from 'node:fs/promises';
import { errnoOf } from '../errors.js';

/**
 * How long a task may stay in D state before the kernel warns, or panics where kernel.hung_task_panic is set; in
 * milliseconds. Null when the check is off (0) or not in this kernel. See Documentation/admin-guide/sysctl/kernel.rst.
 */
export async function readHungTaskTimeoutMs(
  file = '/proc/sys/kernel/hung_task_timeout_secs',
): Promise<number | null> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  }
  const seconds = Number(text.trim());
  return Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : null;
}
