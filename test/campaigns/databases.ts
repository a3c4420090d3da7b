import { parseArgs } from 'node:util';
import { DATABASES, makeDatabase, STORAGES } from '../support/databases/storages.js';
import { proveBackup, type Proof } from '../support/databases/prove-backup.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { ThrowawayDisks } from '../support/throwaway-filesystem.js';

// `npm run databases -- [--runs N] [--database NAME] [--storage NAME]`: N backups of each database under load, shared out
// among the filesystems; each is restored and checked as in test/integration/databases.test.ts. Exits 1 when one of them
// breaks the promise. SIGINT and SIGTERM end it after the backup that is being made. Needs root and a build.

type Kind = readonly [database: (typeof DATABASES)[number], storage: (typeof STORAGES)[number]];

/** What came of the backups of one database on one filesystem. */
interface Tally {
  backups: number;
  broken: number;
  /** How many transactions had to be in the last of them. */
  last: number;
  /** Those that were in flight at a snapshot, of all backups: each in it or not, as a whole. */
  during: number;
  frozenMs: number[];
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function add(tally: Tally, { count, report, complaints }: Proof): void {
  tally.backups += 1;
  tally.broken += complaints.length === 0 ? 0 : 1;
  tally.last = count.before;
  tally.during += count.during;
  const frozenMs = report.sources[0]?.frozenMs;
  if (typeof frozenMs === 'number') tally.frozenMs.push(frozenMs);
}

function render([name, storage]: Kind, tally: Tally): string {
  const { backups, broken, last, during, frozenMs } = tally;
  const longest =
    frozenMs.length === 0 ? 'not frozen' : `frozen ${Math.max(...frozenMs).toFixed(1)} ms at most`;
  return `${name} on ${storage}: ${backups} backups, ${broken} broken; ${last} transactions in the last, ${during} in flight at a snapshot; ${longest}`;
}

async function prove(kind: Kind, runs: number, stop: AbortSignal): Promise<Tally> {
  const tally: Tally = { backups: 0, broken: 0, last: 0, during: 0, frozenMs: [] };
  const disks = new ThrowawayDisks();
  const cli = new FsbackupCli(disks.directory);
  const { place, database } = await makeDatabase(disks, ...kind);
  try {
    await database.create(place.directory);
    const load = await database.startLoad();
    for (let run = 1; run <= runs && !stop.aborted; run += 1) {
      const proof = await proveBackup(cli, place, database, load);
      add(tally, proof);
      for (const complaint of proof.complaints) say(`  backup ${run}: ${complaint}`);
      await cli.run('backups', 'prune', 'database', '--from', place.target, '--keep-last', '1');
    }
    await load.stop();
  } finally {
    await database.dispose();
    await disks.dispose();
  }
  return tally;
}

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '50' },
    database: { type: 'string' },
    storage: { type: 'string' },
  },
});
const databases = DATABASES.filter((name) => values.database === undefined || name === values.database);
const storages = STORAGES.filter((name) => values.storage === undefined || name === values.storage);
const runs = Number(values.runs);
if (databases.length === 0 || storages.length === 0 || !Number.isInteger(runs) || runs < storages.length)
  throw new Error(`--runs N [--database ${DATABASES.join('|')}] [--storage ${STORAGES.join('|')}]`);
const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stopping.abort());
let broken = 0;
for (const name of databases) {
  for (const [index, storage] of storages.entries()) {
    if (stopping.signal.aborted) break;
    const share = Math.floor((runs + index) / storages.length);
    const tally = await prove([name, storage], share, stopping.signal);
    say(render([name, storage], tally));
    broken += tally.broken;
  }
}
process.exitCode = broken === 0 ? 0 : 1;
