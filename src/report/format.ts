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

/**
 * Text that may hold a file's name, with its control characters written out: a name must not be able to move the
 * cursor or set a terminal's title. Newlines stay.
 */
export function withoutControls(text: string): string {
  // oxlint-disable-next-line no-control-regex -- they are what is looked for
  return text.replaceAll(/[\u0000-\u0009\u000B-\u001F\u007F-\u009F]/g, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return `\\x${code.toString(16).padStart(2, '0')}`;
  });
}
