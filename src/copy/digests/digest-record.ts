import { createHash } from 'node:crypto';

/**
 * One entry of a backup, as the list of digests has it: `TYPE DIGEST SIZE PATH`. The list is plain ASCII whatever the
 * names are, sorted by the bytes of its paths.
 */
export interface DigestRecord {
  /** As rsync and `ls` know them: file, directory, symlink (L), device (D), FIFO or socket (S). */
  type: 'f' | 'd' | 'L' | 'D' | 'S';
  /**
   * Of a file its content's, of a symlink its target's, lower-case hexadecimal; `-` of what has no content; `?` where
   * none is known; `=` for a further name of the file `link`, until that is looked up; `!` of what could not be read, which no
   * finished list has.
   */
  digest: string;
  /** Of a file; else 0. */
  sizeBytes: number;
  /** Escaped, relative to the root of the backup's tree, without a trailing slash. */
  path: string;
  /** Escaped; with the digest `=`. */
  link?: string;
}

/** The digest of what was told of, and is not in the backup. */
export const NOT_THERE = '!';

/** Bytes, one character each, as the list writes them: `\ooo` for all but graphic ASCII, and for the backslash. */
export function escapePath(binary: string): string {
  return binary.replaceAll(
    /[^!-[\]-~]/g,
    (byte) => `\\${(byte.codePointAt(0) ?? 0).toString(8).padStart(3, '0')}`,
  );
}

/** Undoes `escapePath`. */
export function unescapePath(escaped: string): string {
  return escaped.replaceAll(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCodePoint(Number.parseInt(octal, 8)),
  );
}

/** What stands for the target of a symlink. */
export function targetDigest(target: string): string {
  return createHash('sha256').update(target, 'latin1').digest('hex').slice(0, 32);
}

/** The record of an entry that is no file and no further name of one. */
export function plainRecord(type: 'd' | 'L' | 'D' | 'S', binaryPath: string, target = ''): DigestRecord {
  const digest = type === 'L' ? targetDigest(target) : '-';
  return { type, digest, sizeBytes: 0, path: escapePath(binaryPath) };
}

export function formatRecord({ type, digest, sizeBytes, path, link }: DigestRecord): string {
  const line = `${type} ${digest} ${sizeBytes} ${path}`;
  return link === undefined ? line : `${line} ${link}`;
}

function isType(text: string | undefined): text is DigestRecord['type'] {
  return text !== undefined && /^[fdLDS]$/.test(text);
}

/** Reads a line; throws for what is none: the list is checked against its own digest before. */
export function parseRecord(line: string): DigestRecord {
  const [type, digest, size, path, link] = line.split(' ');
  if (!isType(type) || digest === undefined || size === undefined || path === undefined) {
    throw new Error(`not a line of a list of digests: ${line.slice(0, 200)}`);
  }
  return { type, digest, sizeBytes: Number(size), path, ...(link === undefined ? {} : { link }) };
}
