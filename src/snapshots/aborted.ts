import { FsbackupError } from '../errors.js';

/** Throws `snapshotFailed` when `signal` is aborted: what was made since is not the snapshot that was asked for. */
export function throwIfAborted(signal: AbortSignal): void {
  if (!signal.aborted) return;
  throw new FsbackupError('snapshotFailed', 'The snapshot was given up before it was complete', {
    hint: 'See the error before this one for why.',
    cause: signal.reason,
  });
}
