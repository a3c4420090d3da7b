import pRetry from 'p-retry';
import { FsbackupError } from '../errors.js';

export interface RetryOptions {
  attempts: number;
  /** Before the second try; doubled for each further one. */
  delayMs: number;
  isRetryable: (error: unknown) => boolean;
  signal: AbortSignal;
}

/**
 * Tries `work` up to `attempts` times. Rejects with its last error, or with the signal's reason when aborted, perhaps
 * just after a try that succeeded: `work` itself must register what it acquires, and its value may be lost.
 */
export async function retry<T>(work: (attempt: number) => Promise<T>, options: RetryOptions): Promise<T> {
  return await pRetry(work, {
    retries: options.attempts - 1,
    minTimeout: options.delayMs,
    factor: 2,
    shouldRetry: ({ error }) => !options.signal.aborted && options.isRetryable(error),
    signal: options.signal,
  });
}

/** Another fsbackup was at it: a run, which needs a moment. */
export function isLocked(error: unknown): boolean {
  return error instanceof FsbackupError && error.code === 'locked';
}
