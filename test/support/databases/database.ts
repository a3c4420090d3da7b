import { setTimeout as sleep } from 'node:timers/promises';
import type { Commit, LedgerRow } from './commit-log.js';

/** A bound against hanging. */
const LIMIT_MS = 120_000;

/** Clients that commit one transaction after the other, and what they noted of it, outside of the database. */
export interface Load {
  readonly clients: number;
  /** Those noted so far. */
  commits(): Promise<readonly Commit[]>;
  /** Why no more will come; undefined while it runs. */
  readonly ended: string | undefined;
  /** Ends it. Rejects when it failed before. Idempotent. */
  stop(): Promise<void>;
}

/** What became of a database that was restored. */
export interface Restored {
  rows: LedgerRow[];
  /** What the database's own check and the sums over its tables complain of. */
  complaints: string[];
}

/** A kind of database, in a directory of its own. */
export interface Database {
  /** Makes it in `directory`, which does not exist. Once. */
  create(directory: string): Promise<void>;
  /** Starts the clients. Once. */
  startLoad(): Promise<Load>;
  /** Opens what was restored to `directory`, which lets it recover, and checks it. `directory` is its own to change. */
  readRestored(directory: string): Promise<Restored>;
  /** Ends whatever runs of it. Idempotent. */
  dispose(): Promise<void>;
}

/** Waits until every client noted a transaction that was begun after `instantMs`, and returns all that were noted. */
export async function commitsBeyond(load: Load, instantMs: number): Promise<readonly Commit[]> {
  const deadline = Date.now() + LIMIT_MS;
  for (;;) {
    const commits = await load.commits();
    const beyond = new Set(commits.filter(({ begunMs }) => begunMs >= instantMs).map(({ client }) => client));
    if (beyond.size === load.clients) return commits;
    if (load.ended !== undefined) throw new Error(`The load ended: ${load.ended}`);
    if (Date.now() > deadline) throw new Error(`Of ${load.clients} clients only ${beyond.size} went on`);
    await sleep(50);
  }
}
