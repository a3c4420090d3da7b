import { unescapePath, type DigestRecord } from './digest-record.js';
import { printable } from '../printable.js';

/** How many paths are told of each kind. */
const MAX_TOLD = 100;

/** Paths of one kind: how many there are, and the first of them. */
export interface PathSample {
  count: number;
  /** As on the live system, unprintable bytes escaped; 100 at most. */
  paths: string[];
}

/** How a backup differs from its list. */
export interface Differences {
  changed: PathSample;
  missing: PathSample;
  extra: PathSample;
  /** Files whose digest the list does not have. */
  withoutDigest: number;
}

export function livePath(escaped: string): string {
  return `/${printable(unescapePath(escaped))}`;
}

function add(sample: PathSample, { path }: DigestRecord): void {
  sample.count += 1;
  if (sample.paths.length < MAX_TOLD) sample.paths.push(livePath(path));
}

/** No differences. */
export function noDifferences(): Differences {
  const none = (): PathSample => ({ count: 0, paths: [] });
  return { changed: none(), missing: none(), extra: none(), withoutDigest: 0 };
}

/** A `?` on either side says nothing of the content. */
function isSame(expected: DigestRecord, found: DigestRecord): boolean {
  if (expected.type !== found.type || expected.sizeBytes !== found.sizeBytes) return false;
  return expected.digest === '?' || found.digest === '?' || expected.digest === found.digest;
}

/**
 * Compares what was found in a backup with its list, both sorted by path. `isKnownMissing`: live paths that the
 * manifest says are not in it.
 */
export async function compareDigests(
  expected: AsyncIterable<DigestRecord>,
  found: AsyncIterable<DigestRecord>,
  isKnownMissing: (livePath: string) => boolean,
): Promise<Differences> {
  const differences = noDifferences();
  const [left, right] = [expected[Symbol.asyncIterator](), found[Symbol.asyncIterator]()];
  try {
    let [wanted, have] = [await left.next(), await right.next()];
    while (wanted.done !== true || have.done !== true) {
      if (have.done === true || (wanted.done !== true && wanted.value.path < have.value.path)) {
        if (wanted.done !== true && !isKnownMissing(livePath(wanted.value.path)))
          add(differences.missing, wanted.value);
        wanted = await left.next();
      } else if (wanted.done === true || have.value.path < wanted.value.path) {
        add(differences.extra, have.value);
        have = await right.next();
      } else {
        if (!isSame(wanted.value, have.value)) add(differences.changed, wanted.value);
        else if (wanted.value.digest === '?') differences.withoutDigest += 1;
        [wanted, have] = [await left.next(), await right.next()];
      }
    }
  } finally {
    // Of one that fails the other is not read to its end.
    await Promise.all([left.return?.(), right.return?.()]);
  }
  return differences;
}
