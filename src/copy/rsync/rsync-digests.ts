import type { runCommand } from '../../system/run-command.js';
import { escapePath, plainRecord, type DigestRecord } from '../digests/digest-record.js';
import { unescapeBytes } from './rsync-output.js';

/**
 * Makes rsync tell of every entry, those that did not change too (`-ii`), with the digest of what it read of each file
 * that it transferred (`%C`), and of all files with `--checksum`. Names hold no `//`: it ends them.
 */
export const TELL_DIGESTS = ['-ii', '--out-format=@%i %C %l %n//%L'] as const;

const LINE = /^@[<>ch.]([fdLDS])\S*\s+(?:([0-9a-f]{32}) )?\s*(\d+) (.*?)\/\/(.*)$/;

/** Of a file that could not be read to its end. */
const NO_DIGEST = /^0+$/;

/**
 * Reads a line of `TELL_DIGESTS`; undefined for any other, and for the root of what was transferred. `inside` is where
 * that lies in the backup, one character per byte.
 */
export function parseDigestLine(line: string, inside: string): DigestRecord | undefined {
  const [, type, digest, size, name, rest] = LINE.exec(line) ?? [];
  if (type === undefined || name === undefined || rest === undefined) return undefined;
  const at = (relative: string): string => (inside === '' ? relative : `${inside}/${relative}`);
  // A directory's name ends in a slash, which the pattern leaves to what follows.
  const own = unescapeBytes(name);
  const path = own === '.' ? inside : at(own);
  if (path === '') return undefined;
  // A symlink can have further names too; of devices and FIFOs they are entries like any other.
  const link = rest.startsWith(' => ') ? rest.slice(' => '.length) : undefined;
  if (type === 'L' && link !== undefined) {
    const of = escapePath(at(unescapeBytes(link)));
    return { type, digest: '=', sizeBytes: 0, path: escapePath(path), link: of };
  }
  if (type === 'L') return plainRecord('L', path, unescapeBytes(rest.replace(/^ -> /, '')));
  if (type !== 'f') return plainRecord(type as 'd' | 'D' | 'S', path);
  const record = { type: 'f', sizeBytes: Number(size), path: escapePath(path) } as const;
  if (digest !== undefined) return { ...record, digest: NO_DIGEST.test(digest) ? '?' : digest };
  return link === undefined
    ? { ...record, digest: '?' }
    : { ...record, digest: '=', link: escapePath(at(unescapeBytes(link))) };
}

/** The fastest digest that this rsync has. It makes one of every file in any case. */
export async function chooseChecksum(run: typeof runCommand): Promise<'xxh128' | 'md5'> {
  const { stdout } = await run(['rsync', '--version'], { timeoutMs: 30_000 });
  return /\bxxh128\b/.test(stdout) ? 'xxh128' : 'md5';
}

/** A path of the configuration, one character per byte. */
export function asBytes(path: string): string {
  return Buffer.from(path, 'utf8').toString('latin1');
}
