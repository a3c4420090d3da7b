import { expect, it } from 'vitest';
import { checkLedger, countCommits, type Commit } from '../../support/databases/commit-log.js';
import { parsePgbenchLine } from '../../support/databases/postgresql.js';

/** Two clients; transaction N of each begins at N * 10 ms and takes 5. */
const commits: Commit[] = [1, 2, 3, 4].flatMap((number) =>
  [0, 1].map((client) => ({ client, number, begunMs: number * 10, committedMs: number * 10 + 5 })),
);
/** Transaction 3 is in flight. */
const span = { startMs: 25, endMs: 40 };

function ledger(...counts: number[]): { client: number; number: number }[] {
  return counts.flatMap((count, client) =>
    Array.from({ length: count }, (_, index) => ({ client, number: index + 1 })),
  );
}

it('lets what was in flight be there or not', () => {
  expect(countCommits(commits, span)).toEqual({ before: 4, during: 2, after: 2 });
  expect(checkLedger(ledger(2, 3), commits, span)).toEqual([]);
});

it.each([
  ['is missing', ledger(1, 2), 'transaction 0/2 was committed 0.0 ms before the snapshot and is missing'],
  ['is too late', ledger(4, 2), 'transaction 0/4 was begun 0.0 ms after the snapshot and is there'],
  [
    'is unknown',
    [...ledger(2, 2), { client: 2, number: 1 }],
    'transaction 2/1 is there and nobody committed it',
  ],
  ['is there twice', [...ledger(2, 2), { client: 0, number: 1 }], 'a transaction is there twice'],
])('complains of one that %s', (_, rows, complaint) => {
  expect(checkLedger(rows, commits, span)).toEqual([complaint]);
});

it('complains of a gap', () => {
  const rows = [...ledger(2, 2), { client: 0, number: 4 }];
  expect(checkLedger(rows, commits, { ...span, endMs: 50 })).toEqual([
    'transaction 0/4 is there without the one before it',
  ]);
});

it('reads a line of pgbench, and none that tells of a failure', () => {
  expect(parsePgbenchLine('3 17 2500 0 1700000000 123456')).toEqual({
    client: 3,
    number: 17,
    begunMs: 1_700_000_000_120.956,
    committedMs: 1_700_000_000_123.456,
  });
  expect(parsePgbenchLine('3 18 failed 0 1700000000 123456')).toBeUndefined();
});
