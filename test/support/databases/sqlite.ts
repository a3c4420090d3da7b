import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeFailure, runCommand } from '../../../src/system/run-command.js';
import type { Commit, LedgerRow } from './commit-log.js';
import type { Database, Load, Restored } from './database.js';

const ACCOUNTS = 5000;
const LIMIT_MS = 120_000;
const FILE = 'bank.db';

/** Whole milliseconds that have begun: SQLite's clock has no finer ones. Asked anew by each statement. */
const NOW = "CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER)";

const SCHEMA = `
PRAGMA journal_mode=WAL;
CREATE TABLE account(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL, padding TEXT NOT NULL);
CREATE TABLE ledger(client INTEGER NOT NULL, number INTEGER NOT NULL, delta INTEGER NOT NULL,
  PRIMARY KEY(client, number)) WITHOUT ROWID;
CREATE INDEX by_balance ON account(balance);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ACCOUNTS})
  INSERT INTO account SELECT i, 0, hex(randomblob(60)) FROM n;
`;

/** Checkpoints come every some hundred transactions, so that snapshots fall into some. */
const SETTINGS = '.bail on\n.timeout 60000\nPRAGMA synchronous=FULL;\nPRAGMA wal_autocheckpoint=250;\n';

function transaction(client: number, number: number): string {
  const account = 1 + ((client * 7919 + number * 104_729) % ACCOUNTS);
  const delta = ((number * 31 + client) % 199) - 99;
  return [
    `SELECT 'begun', ${client}, ${number}, ${NOW};`,
    'BEGIN IMMEDIATE;',
    `UPDATE account SET balance = balance + ${delta} WHERE id = ${account};`,
    `INSERT INTO ledger VALUES(${client}, ${number}, ${delta});`,
    'COMMIT;',
    `SELECT 'committed', ${client}, ${number}, ${NOW};`,
    '',
  ].join('\n');
}

/** Adds what a line of a client says to `commits`: the second line of a transaction completes it. */
function take(line: string, begun: Map<number, number>, commits: Commit[]): void {
  const [what, ...numbers] = line.split('|');
  const [client = Number.NaN, number = Number.NaN, ms = Number.NaN] = numbers.map(Number);
  if (what === 'begun') begun.set(client, ms);
  if (what !== 'committed') return;
  // By the end of the millisecond that the clock showed it had returned.
  commits.push({ client, number, begunMs: begun.get(client) ?? Number.NaN, committedMs: ms + 1 });
}

/** How hard the clients work. */
export interface SqlitePace {
  clients: number;
  /** What a client waits between two transactions. */
  pauseMs: number;
}

function startLoad(file: string, { clients, pauseMs }: SqlitePace): Load {
  const commits: Commit[] = [];
  const begun = new Map<number, number>();
  const stopping = new AbortController();
  let ended: string | undefined;
  async function* transactions(client: number): AsyncGenerator<string> {
    yield SETTINGS;
    for (let number = 1; !stopping.signal.aborted; number += 1) {
      yield transaction(client, number);
      if (pauseMs > 0) await sleep(pauseMs);
    }
  }
  const running = Array.from({ length: clients }, async (_, client) => {
    const result = await runCommand(['sqlite3', '-batch', file], {
      stdinFrom: Readable.from(transactions(client), { highWaterMark: 4 }),
      onStdoutLine: (line) => take(line, begun, commits),
    });
    if (result.exitCode !== 0) ended ??= describeFailure(`client ${client} of SQLite`, result);
  });
  return {
    clients,
    commits: () => Promise.resolve([...commits]),
    get ended() {
      return ended;
    },
    async stop() {
      stopping.abort();
      await Promise.all(running);
      if (ended !== undefined) throw new Error(ended);
    },
  };
}

/** Runs SQL to its end and returns the lines of its answer. */
async function query(file: string, sql: string): Promise<string[]> {
  const lines: string[] = [];
  const result = await runCommand(['sqlite3', '-batch', '-bail', file], {
    input: sql,
    timeoutMs: LIMIT_MS,
    onStdoutLine: (line) => lines.push(line),
  });
  if (result.exitCode !== 0) throw new Error(describeFailure('sqlite3', result));
  return lines;
}

/** SQLite with a write-ahead log, written by several processes of sqlite3(1), each commit fsynced. */
export class SqliteDatabase implements Database {
  #file = '';
  #load: Load | undefined;
  readonly #pace: SqlitePace;

  constructor(pace: SqlitePace = { clients: 3, pauseMs: 0 }) {
    this.#pace = pace;
  }

  async create(directory: string): Promise<void> {
    await mkdir(directory);
    this.#file = path.join(directory, FILE);
    await query(this.#file, SCHEMA);
  }

  startLoad(): Promise<Load> {
    this.#load = startLoad(this.#file, this.#pace);
    return Promise.resolve(this.#load);
  }

  async readRestored(directory: string): Promise<Restored> {
    const file = path.join(directory, FILE);
    const integrity = await query(file, 'PRAGMA integrity_check;');
    const [sums] = await query(
      file,
      'SELECT (SELECT sum(balance) FROM account) = (SELECT total(delta) FROM ledger);',
    );
    const rows = (await query(file, 'SELECT client, number FROM ledger;')).map((line): LedgerRow => {
      const [client = Number.NaN, number = Number.NaN] = line.split('|').map(Number);
      return { client, number };
    });
    return {
      rows,
      complaints: [
        ...integrity.filter((line) => line !== 'ok').map((line) => `integrity_check: ${line}`),
        ...(sums === '1' ? [] : ['a transaction is there in part: balances and ledger differ']),
      ],
    };
  }

  async dispose(): Promise<void> {
    await this.#load?.stop().catch(() => undefined);
  }
}
