import { cp, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { runCommand, describeFailure } from '../../../src/system/run-command.js';
import { checkLedger } from '../../support/databases/commit-log.js';
import type { Load as DatabaseLoad } from '../../support/databases/database.js';
import { SqliteDatabase } from '../../support/databases/sqlite.js';
import { must } from '../../support/throwaway-filesystem.js';
import type { SnapshotInterval } from './check-tree.js';
import { monotonicMs } from './load.js';

/** A program that people run, at work beside the load on the same filesystem during one run. */
export interface Neighbour {
  /** Ends it. The filesystem must not be frozen. Idempotent. */
  stop(): Promise<void>;
  /**
   * What is wrong with its directory as it was restored from a snapshot of that interval, a line each; undefined: nobody
   * knows when, since the clock was moved. `restored` is left as it is.
   */
  check(restored: string, interval: SnapshotInterval | undefined): Promise<string[]>;
}

export const NEIGHBOURS = ['none', 'fio', 'sqlite'] as const;
export type NeighbourName = (typeof NEIGHBOURS)[number];

/** Its directory, below the mountpoint. */
export const NEIGHBOUR_DIRECTORY = 'neighbour';

const FIO_FILE = 'blocks';
const FIO_BYTES = '8m';
const FIO_IOPS = 400;
/** Only against hanging. */
const LIMIT_MS = 240_000;

/** Of every block fio itself can tell whether it is one that it wrote, whole. The file is named in full: it is nobody else's. */
function fio(directory: string, ...more: string[]): [string, ...string[]] {
  const shape = [`--size=${FIO_BYTES}`, '--bs=4k', '--ioengine=psync', '--allow_file_create=0'];
  const verify = ['--verify=crc32c', '--verify_fatal=1', '--verify_state_save=0'];
  const name = ['--name=neighbour', `--filename=${path.join(directory, FIO_FILE)}`];
  return ['fio', ...name, ...shape, ...verify, ...more];
}

async function startFio(directory: string, slower: number): Promise<Neighbour> {
  await must(...fio(directory, '--rw=write', '--do_verify=0', '--end_fsync=1', '--allow_file_create=1'));
  const stop = new AbortController();
  const pace = [`--rate_iops=${Math.ceil(FIO_IOPS / slower)}`, '--time_based', '--runtime=1h'];
  const writes = fio(directory, '--rw=randwrite', '--do_verify=0', '--fsync=16', ...pace);
  const running = runCommand(writes, { signal: stop.signal });
  return {
    stop: async () => {
      stop.abort();
      const result = await running;
      if (!result.aborted) throw new Error(describeFailure('fio', result));
    },
    check: async (restored) => {
      const reads = fio(restored, '--rw=read', '--readonly');
      const result = await runCommand(reads, { timeoutMs: LIMIT_MS });
      return result.exitCode === 0 ? [] : [describeFailure('fio, of what it had written,', result)];
    },
  };
}

async function startSqlite(directory: string, slower: number): Promise<Neighbour> {
  const database = new SqliteDatabase(slower === 1 ? undefined : { clients: 1, pauseMs: 10 * slower });
  const name = 'database';
  await database.create(path.join(directory, name));
  const load: DatabaseLoad = await database.startLoad();
  return {
    stop: () => load.stop(),
    check: async (restored, interval) => {
      const scratch = await mkdtemp(path.join(os.tmpdir(), 'chaos-sqlite-'));
      try {
        const copy = path.join(scratch, name);
        await cp(path.join(restored, name), copy, { recursive: true });
        const { rows, complaints } = await database.readRestored(copy);
        if (interval === undefined) return complaints;
        const offsetMs = Date.now() - monotonicMs();
        const span = { startMs: interval.beginMs + offsetMs, endMs: interval.endMs + offsetMs };
        return [...complaints, ...checkLedger(rows, await load.commits(), span)];
      } finally {
        await rm(scratch, { recursive: true, force: true });
      }
    },
  };
}

const START: Readonly<
  Record<NeighbourName, ((directory: string, slower: number) => Promise<Neighbour>) | undefined>
> = { none: undefined, fio: startFio, sqlite: startSqlite };

/** Starts one on a filesystem, where whoever was there before has left; `slower` as for the load. */
export async function startNeighbour(
  name: NeighbourName,
  mountpoint: string,
  slower = 1,
): Promise<Neighbour | undefined> {
  const directory = path.join(mountpoint, NEIGHBOUR_DIRECTORY);
  await mkdir(directory, { recursive: true });
  for (const entry of await readdir(directory)) await rm(path.join(directory, entry), { recursive: true });
  return await START[name]?.(directory, slower);
}
