import { afterEach, expect, it } from 'vitest';
import { describeNeeding } from '../support/capabilities.js';
import { checkLedger } from '../support/databases/commit-log.js';
import type { Database } from '../support/databases/database.js';
import { proveBackup, type Proof } from '../support/databases/prove-backup.js';
import { DATABASE_NEEDS, DATABASES, makeDatabase, STORAGES } from '../support/databases/storages.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { ThrowawayDisks } from '../support/throwaway-filesystem.js';

/** The second of two lies beside the first, by hard links. `npm run databases -- --runs 50` makes more. */
const BACKUPS = { sqlite: 2, postgresql: 1 } as const;

const disks = new ThrowawayDisks();
let database: Database | undefined;

afterEach(async () => {
  await database?.dispose();
  database = undefined;
  await disks.dispose();
});

/** What the same backup would be complained of, had it been taken at other times. */
function complaintsAt(proof: Proof, instantMs: number): string[] {
  return checkLedger(proof.restored.rows, proof.commits, { startMs: instantMs, endMs: instantMs });
}

describeNeeding(DATABASE_NEEDS, 'a database under load, backed up with no quiesce', () => {
  const kinds = STORAGES.flatMap((storage) => DATABASES.map((name) => [name, storage] as const));
  it.each(kinds)(
    '%s on %s: recovers, is whole, and has every transaction committed before the snapshot and none begun after',
    async (name, storage) => {
      const live = await makeDatabase(disks, name, storage);
      database = live.database;
      const cli = new FsbackupCli(disks.directory);
      await database.create(live.place.directory);
      const load = await database.startLoad();
      let proof: Proof | undefined;
      for (let backup = 0; backup < BACKUPS[name]; backup += 1) {
        proof = await proveBackup(cli, live.place, database, load);
        expect(proof.complaints).toEqual([]);
        expect(proof.report.consistency).toBe(storage === 'btrfs' ? 'crash' : 'filesystem');
        expect(proof.count.before).toBeGreaterThan(load.clients);
        expect(proof.count.after).toBeGreaterThanOrEqual(load.clients);
      }
      await load.stop();
      // The same check finds what is missing and what is too much.
      if (proof === undefined) throw new Error('there was no backup');
      expect(complaintsAt(proof, Infinity)[0]).toMatch(
        /^transaction \d+\/\d+ was committed .* and is missing$/,
      );
      expect(complaintsAt(proof, 0)[0]).toMatch(/^transaction \d+\/\d+ was begun .* and is there$/);
    },
  );
});
