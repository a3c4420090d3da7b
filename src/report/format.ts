import prettyBytes from 'pretty-bytes';
import prettyMs from 'pretty-ms';

/** `0.2 ms`, `39 ms`, `1.2 s`, `3m 20s`: three figures are what a reader compares. */
export function formatMs(ms: number): string {
  if (ms < 10) return `${Number(ms.toFixed(1))} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  return prettyMs(ms, { secondsDecimalDigits: 0 });
}

/** `1.34 GB`. */
export function formatBytes(bytes: number): string {
  return prettyBytes(bytes);
}

/** `1 file`, `2 files`. */
export function formatFiles(files: number): string {
  return `${files} ${files === 1 ? 'file' : 'files'}`;
}

/** What of a target's limit is told after what is copied there: `, at most 5 MiB/s`. */
export function describeLimit({ limitBytesPerSecond }: { limitBytesPerSecond?: number }): string {
  return limitBytesPerSecond === undefined
    ? ''
    : `, at most ${prettyBytes(limitBytesPerSecond, { binary: true })}/s`;
}
