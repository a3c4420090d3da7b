/** One transaction of a load, as the load itself noted it outside of the database. Epoch milliseconds. */
export interface Commit {
  client: number;
  /** Of its client's transactions, from 1, one after the other. */
  number: number;
  /** Not after its BEGIN was sent. */
  begunMs: number;
  /** Not before its COMMIT returned. */
  committedMs: number;
}

/** A row of the table that every transaction of a load adds one to. */
export type LedgerRow = Pick<Commit, 'client' | 'number'>;

/** Within which a snapshot was taken, epoch milliseconds. */
export interface SnapshotSpan {
  startMs: number;
  endMs: number;
}

/** How many transactions a snapshot had to have, could have, and must not have. */
export interface CommitCount {
  before: number;
  during: number;
  after: number;
}

/** Complaints end here: with one transaction lost there may be thousands. */
const MAX_COMPLAINTS = 10;

function keyOf({ client, number }: LedgerRow): string {
  return `${client}/${number}`;
}

function isBefore(commit: Commit, span: SnapshotSpan): boolean {
  return commit.committedMs <= span.startMs;
}

function isAfter(commit: Commit, span: SnapshotSpan): boolean {
  return commit.begunMs >= span.endMs;
}

export function countCommits(commits: readonly Commit[], span: SnapshotSpan): CommitCount {
  const before = commits.filter((commit) => isBefore(commit, span)).length;
  const after = commits.filter((commit) => isAfter(commit, span)).length;
  return { before, after, during: commits.length - before - after };
}

/**
 * What is wrong with a ledger that was restored from a snapshot taken within `span`, a line each: every transaction whose
 * COMMIT had returned before must be in it, none that was begun after may be, and of each client it must hold the first
 * ones without a gap. `commits` must reach beyond the span for every client.
 */
export function checkLedger(
  rows: readonly LedgerRow[],
  commits: readonly Commit[],
  span: SnapshotSpan,
): string[] {
  const there = new Set(rows.map(keyOf));
  const known = new Map(commits.map((commit) => [keyOf(commit), commit]));
  const complaints = there.size === rows.length ? [] : ['a transaction is there twice'];
  for (const commit of commits) {
    if (isBefore(commit, span) && !there.has(keyOf(commit)))
      complaints.push(
        `transaction ${keyOf(commit)} was committed ${(span.startMs - commit.committedMs).toFixed(1)} ms before the snapshot and is missing`,
      );
  }
  for (const row of rows) {
    const commit = known.get(keyOf(row));
    if (commit === undefined) complaints.push(`transaction ${keyOf(row)} is there and nobody committed it`);
    else if (isAfter(commit, span))
      complaints.push(
        `transaction ${keyOf(row)} was begun ${(commit.begunMs - span.endMs).toFixed(1)} ms after the snapshot and is there`,
      );
    if (row.number > 1 && !there.has(keyOf({ client: row.client, number: row.number - 1 })))
      complaints.push(`transaction ${keyOf(row)} is there without the one before it`);
  }
  return complaints.slice(0, MAX_COMPLAINTS);
}
