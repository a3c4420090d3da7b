import { mkdtemp, rm, stat } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { removeScratchPool, withScratchPool } from '../../../src/copy/zfs/scratch-pool.js';
import type { Journal } from '../../../src/journal/journal.js';
import type { CommandResult, runCommand } from '../../../src/system/run-command.js';

function ended(exitCode: number | undefined, stderr = '', stdout = ''): CommandResult {
  return { exitCode, stdout, stderr, signal: undefined, notFound: false, timedOut: false, aborted: false };
}

/** As OpenZFS prints it: the pool, then each device after a tab. */
function listing(pool: string, ...devices: string[]): CommandResult {
  const lines = devices.map((device) => `\t${device}\t1.9G\t100K\t1.9G\t-\t-\t0%\t0.0%\t-\tONLINE`);
  return ended(0, '', [`${pool}\t1.9G\t100K\t1.9G\t-\t-\t0%\t0%\t1.00x\tONLINE\t-`, ...lines, ''].join('\n'));
}

/** The pools of a host, by name, each with its devices. */
class Zpools {
  readonly pools = new Map<string, string[]>();
  readonly asked: string[] = [];
  onCreate: CommandResult = ended(0);
  onDestroy: CommandResult = ended(0);

  readonly run: typeof runCommand = async ([, verb = '', ...args]) => {
    this.asked.push(verb);
    const name = verb === 'create' ? (args.at(-2) ?? '') : (args.at(-1) ?? '');
    if (verb === 'create') {
      this.pools.set(name, [args.at(-1) ?? '']);
      return this.onCreate;
    }
    const devices = this.pools.get(name);
    if (devices === undefined) return ended(1, `cannot open '${name}': no such pool`);
    if (verb === 'list') return listing(name, ...devices);
    if (this.onDestroy.exitCode === 0) this.pools.delete(name);
    return this.onDestroy;
  };
}

describe('the pool of a restore', () => {
  let scratch: string;
  let zpools: Zpools;
  let journalled: { pool: string; file: string }[];

  const journal: Journal = {
    record: async (_kind, payload) => {
      expect(zpools.asked).toEqual([]);
      journalled.push(payload as { pool: string; file: string });
      return { id: 'one', amend: async () => undefined, remove: async () => void journalled.pop() };
    },
  };

  beforeEach(async () => {
    scratch = await mkdtemp(path.join(os.tmpdir(), 'scratch pool-'));
    zpools = new Zpools();
    journalled = [];
  });
  afterEach(() => rm(scratch, { recursive: true }));

  function request() {
    return { scratch, bytes: 10, journal, run: zpools.run };
  }

  it('is journalled before it is made, has a file of its own, and is gone afterwards', async () => {
    await withScratchPool(request(), async (pool) => {
      const file = path.join(scratch, 'pool');
      expect(journalled).toEqual([{ pool, file }]);
      expect(zpools.pools).toEqual(new Map([[pool, [file]]]));
      expect((await stat(file)).size).toBeGreaterThan(1024 ** 3);
    });
    expect([journalled, zpools.pools.size]).toEqual([[], 0]);
  });

  it('stays journalled as long as it is there', async () => {
    zpools.onDestroy = ended(1, 'cannot destroy: pool is busy');
    const failing = withScratchPool(request(), () => Promise.resolve());
    await expect(failing).rejects.toMatchObject({ code: 'cleanupIncomplete' });
    expect(journalled).toHaveLength(1);
  });

  it('that zpool made although it failed is destroyed', async () => {
    zpools.onCreate = ended(undefined, 'killed');
    const failing = withScratchPool(request(), () => Promise.resolve());
    await expect(failing).rejects.toMatchObject({ code: 'copyFailed' });
    expect([journalled, zpools.pools.size]).toEqual([[], 0]);
  });

  it('of a dead restore is destroyed, once and again', async () => {
    const left = { pool: 'fsbackup-restore-1-a', file: path.join(scratch, 'pool') };
    zpools.pools.set(left.pool, [left.file]);
    for (let round = 0; round < 2; round += 1) await removeScratchPool(left, zpools.run);
    expect(zpools.asked).toEqual(['list', 'destroy', 'list']);
  });

  it.each([['/dev/sda'], ['/dev/sda', 'the file'], []])(
    'is none of ours on %s, whatever its name',
    async (...devices) => {
      const left = { pool: 'fsbackup-restore-1-a', file: path.join(scratch, 'pool') };
      zpools.pools.set(
        left.pool,
        devices.map((device) => (device === 'the file' ? left.file : device)),
      );
      await expect(removeScratchPool(left, zpools.run)).rejects.toMatchObject({ code: 'cleanupIncomplete' });
      expect(zpools.asked).toEqual(['list']);
    },
  );

  it('that nobody can be asked about is not called gone', async () => {
    const left = { pool: 'fsbackup-restore-1-a', file: path.join(scratch, 'pool') };
    const none: typeof runCommand = async () => ({ ...ended(undefined), notFound: true });
    await expect(removeScratchPool(left, none)).rejects.toMatchObject({ code: 'cleanupIncomplete' });
  });
});
