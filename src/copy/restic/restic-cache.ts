import type { CommandOptions, CommandResult } from '../../system/run-command.js';

/**
 * restic keeps a file that it loads in its cache, and where it cannot, loads it again, though to load it needs no other
 * disk: 0.14 ten times, most of a minute, before it does without, and all of that for each file. Up to 0.16 at least.
 */
const CACHE_REFUSES =
  /^Load\(.*returned error, retrying after.*(?:no space left on device|disk quota exceeded|read-only file system)/i;

/** Runs restic; the second time without its cache. */
type Attempt = (more: readonly string[], options: CommandOptions) => Promise<CommandResult>;

/**
 * Whether restic is run with its cache: until the cache's disk is found to be full. A restic that meets it is stopped,
 * and begun anew without a cache.
 */
export class ResticCache {
  /** Whether the disk of the cache was found full, and restic works without it. */
  isRefused = false;

  async run(attempt: Attempt, options: CommandOptions): Promise<CommandResult> {
    if (this.isRefused) return await attempt(['--no-cache'], options);
    const stop = new AbortController();
    const { signal, onStderrLine } = options;
    const result = await attempt([], {
      ...options,
      signal: signal === undefined ? stop.signal : AbortSignal.any([stop.signal, signal]),
      onStderrLine: (line) => {
        if (!CACHE_REFUSES.test(line)) {
          onStderrLine?.(line);
          return;
        }
        this.isRefused = true;
        stop.abort();
      },
    });
    if (!stop.signal.aborted || signal?.aborted === true) return result;
    return await attempt(['--no-cache'], options);
  }
}
