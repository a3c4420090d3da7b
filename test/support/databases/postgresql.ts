import { readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describeFailure, runCommand } from '../../../src/system/run-command.js';
import type { Commit, LedgerRow } from './commit-log.js';
import type { Database, Load, Restored } from './database.js';
import { PostgresqlServer } from './postgresql-server.js';

const CLIENTS = 4;
const SCALE = 2;
const LIMIT_MS = 300_000;

/** pgbench's own transaction, after TPC-B, and a row in the ledger. */
const TRANSACTION = `
\\set number :number + 1
\\set aid random(1, 100000 * ${SCALE})
\\set bid random(1, ${SCALE})
\\set tid random(1, 10 * ${SCALE})
\\set delta random(-5000, 5000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;
UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;
INSERT INTO pgbench_history(tid, bid, aid, delta, mtime) VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP);
INSERT INTO ledger VALUES (:client_id, :number);
COMMIT;
`;

/** Whether each transaction is there as a whole or not at all. */
const SUMS = `
SELECT count(DISTINCT total) FROM (VALUES
  ((SELECT sum(abalance) FROM pgbench_accounts)), ((SELECT sum(tbalance) FROM pgbench_tellers)),
  ((SELECT sum(bbalance) FROM pgbench_branches)), ((SELECT coalesce(sum(delta), 0) FROM pgbench_history))
) AS t(total);
SELECT (SELECT count(*) FROM pgbench_history) = (SELECT count(*) FROM ledger);
`;

/** A line of pgbench's log: client, number, microseconds it took, script, when it had ended (seconds, microseconds). */
export function parsePgbenchLine(line: string): Commit | undefined {
  const match = /^(\d+) (\d+) (\d+) \d+ (\d+) (\d+)$/.exec(line);
  if (match === null) return undefined;
  const [client = 0, number = 0, tookUs = 0, seconds = 0, microseconds = 0] = match.slice(1).map(Number);
  const committedMs = seconds * 1000 + microseconds / 1000;
  return { client, number, begunMs: committedMs - tookUs / 1000, committedMs };
}

async function startLoad(server: PostgresqlServer, directory: string): Promise<Load> {
  const script = path.join(directory, 'transaction.sql');
  await writeFile(script, TRANSACTION);
  const log = path.join(directory, 'commits');
  const stopping = new AbortController();
  let ended: string | undefined;
  let logFile: string | undefined;
  // One thread, so that all clients' lines are in one file, in their order.
  const run = async (): Promise<void> => {
    const result = await runCommand(
      server.client(
        'pgbench',
        '--no-vacuum',
        '-T',
        '86400',
        '-c',
        String(CLIENTS),
        '-j',
        '1',
        '-D',
        'number=0',
        '-f',
        script,
        '--log',
        `--log-prefix=${log}`,
      ),
      {
        cwd: '/',
        signal: stopping.signal,
        watch: () => ({
          started: (pid) => {
            logFile = `${log}.${pid}`;
          },
          ended: () => undefined,
        }),
      },
    );
    if (!result.aborted) ended = describeFailure('pgbench', result);
  };
  const running = run();
  return {
    clients: CLIENTS,
    async commits() {
      if (logFile === undefined) return [];
      const text = await readFile(logFile, 'utf8').catch(() => '');
      // It is written in blocks: the last line may be cut short.
      const lines = text.slice(0, text.lastIndexOf('\n') + 1).split('\n');
      return lines.flatMap((line) => parsePgbenchLine(line) ?? []);
    },
    get ended() {
      return ended;
    },
    async stop() {
      stopping.abort();
      await running;
      if (ended !== undefined) throw new Error(ended);
    },
  };
}

/** PostgreSQL under pgbench, its server run by an unprivileged user. */
export class PostgresqlDatabase implements Database {
  readonly #outside: string;
  #server: PostgresqlServer | undefined;
  #load: Load | undefined;
  #restored: PostgresqlServer | undefined;

  /** `outside`: a directory, not frozen, that the user may search: for sockets, the load's script and its log. */
  constructor(outside: string) {
    this.#outside = outside;
  }

  async create(directory: string): Promise<void> {
    const server = new PostgresqlServer(directory, path.join(this.#outside, 'live'));
    this.#server = server;
    await server.initialise();
    await server.start();
    await server.query(
      'CREATE EXTENSION amcheck; CREATE TABLE ledger(client int, number int, PRIMARY KEY(client, number));',
    );
    const made = await runCommand(server.client('pgbench', '-i', '-q', '-s', String(SCALE)), {
      cwd: '/',
      timeoutMs: LIMIT_MS,
    });
    if (made.exitCode !== 0) throw new Error(describeFailure('pgbench', made));
  }

  async startLoad(): Promise<Load> {
    if (this.#server === undefined) throw new Error('there is no database yet');
    this.#load = await startLoad(this.#server, this.#outside);
    return this.#load;
  }

  async readRestored(directory: string): Promise<Restored> {
    // It names a server that lives, on the live directory; after a restore that takes the place of it, it would be stale.
    await rm(path.join(directory, 'postmaster.pid'));
    const server = new PostgresqlServer(directory, path.join(this.#outside, 'restored'));
    this.#restored = server;
    try {
      await server.start();
      const check = await runCommand(server.client('pg_amcheck', '--heapallindexed'), {
        cwd: '/',
        timeoutMs: LIMIT_MS,
      });
      const [totals, counts] = await server.query(SUMS);
      const rows = (await server.query('SELECT client, number FROM ledger;')).map((line): LedgerRow => {
        const [client = Number.NaN, number = Number.NaN] = line.split('|').map(Number);
        return { client, number };
      });
      return {
        rows,
        complaints: [
          ...(check.exitCode === 0 ? [] : [`${describeFailure('pg_amcheck', check)}: ${check.stdout}`]),
          ...(totals === '1' ? [] : ['a transaction is there in part: the sums of the tables differ']),
          ...(counts === 't' ? [] : ['a transaction is there in part: history and ledger differ']),
        ],
      };
    } finally {
      await server.stop();
    }
  }

  async dispose(): Promise<void> {
    await this.#load?.stop().catch(() => undefined);
    await this.#restored?.stop();
    await this.#server?.stop();
  }
}
