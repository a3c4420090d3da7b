import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AbsentStorageError, FsbackupError } from '../../../src/errors.js';
import { openJournal, type JournalDirectories } from '../../../src/journal/journal.js';
import { recover, recoverOwners, type RecoverDependencies } from '../../../src/journal/recover.js';
import { recoverExitCode } from '../../../src/journal/recover-report.js';
import type { SnapshotRef } from '../../../src/snapshots/provider.js';

const BOOT = 'this-boot';
let root: string;
let directories: JournalDirectories;
let released: string[];
let failing: Set<string>;
/** What lies on storage that is not mounted, with the device that has it, if one has. */
let absent: Map<string, string | undefined>;
/** Snapshots that were lost. */
let lost: Set<string>;
/** Backups that the next run can go on from. */
let keepable: Set<string>;
let living: Set<string>;
let orphans: string[];

function ref(name: string): SnapshotRef & { data: Record<string, string> } {
  return { provider: 'reflink', name, mountpoint: '/srv', fstype: 'ext4', takenFrozen: true, data: {} };
}

/** What a run of `job` holds in the middle of its copy. */
async function aRun(job: string, bootId = BOOT): Promise<void> {
  const journal = openJournal(directories, {
    job,
    runId: `run-${job}`,
    process: { bootId, pid: 1, startTime: 1 },
  });
  await journal.record('snapshot', ref(`${job}-0`));
  await journal.record('quiesce', { name: `${job}-db`, after: ['true'], timeoutMs: 1 });
  await journal.record('exposure', { snapshot: ref(`${job}-0`), path: `/mnt/${job}` });
  await journal.record('backup', { target: '/backup', engine: 'rsync', job, backupId: `b-${job}` });
}

async function release(what: string): Promise<void> {
  if (absent.has(what)) {
    throw new AbsentStorageError(`${what} lies elsewhere`, {
      hint: 'Mount it',
      left: `${what} on a disk`,
      findDevice: async () => absent.get(what),
    });
  }
  if (failing.has(what)) throw new Error(`${what} is busy`);
  released.push(what);
}

function dependencies(overrides: Partial<RecoverDependencies> = {}): RecoverDependencies {
  return {
    directories,
    bootId: BOOT,
    recoverFreezes: async () => ({ recovered: [], failures: [] }),
    releasers: {
      quiesce: ({ payload }) => release(`quiesce ${payload.name}`),
      exposure: ({ payload }) => release(`exposure ${payload.path}`),
      poolMetadata: ({ payload }) => release(`metadata of ${payload.device}`),
      snapshot: ({ payload }) => release(`snapshot ${payload.name}`),
      isIntact: async ({ payload }) => !lost.has(payload.name),
      backup: async ({ payload: { backupId } }, { mayKeep }) => {
        await release(`backup ${backupId}`);
        return mayKeep && keepable.has(backupId) ? `/kept/${backupId}` : undefined;
      },
      drill: ({ payload }) => release(`drill ${payload.directory}`),
      staging: ({ payload }) => release(`staging ${payload.directory}`),
      restoreLinks: ({ payload }) => release(`links ${payload.token}`),
      scratchPool: ({ payload }) => release(`pool ${payload.pool}`),
      removal: ({ payload }) => release(`removal ${payload.backupId}`),
    },
    endOrphans: async () => undefined,
    endHook: async () => undefined,
    endMakers: async () => new Map(),
    lockJob: async (job) => (living.has(job) ? undefined : { name: job, release: async () => undefined }),
    ...overrides,
  };
}

async function journalFiles(): Promise<string[]> {
  const listed = await Promise.all(
    [directories.durable, directories.volatile].map((directory) => readdir(directory).catch(() => [])),
  );
  return listed.flat();
}

beforeEach(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'recover-'));
  directories = { durable: path.join(root, 'state'), volatile: path.join(root, 'run') };
  released = [];
  failing = new Set();
  absent = new Map();
  lost = new Set();
  keepable = new Set();
  living = new Set();
  orphans = [];
});

afterEach(async () => {
  await rm(root, { recursive: true });
});

describe('recover', () => {
  it('releases what a dead run left, in the reverse order of its acquisition, and is idempotent', async () => {
    await aRun('a');
    const report = await recover(dependencies());
    expect(released).toEqual(['quiesce a-db', 'backup b-a', 'exposure /mnt/a', 'snapshot a-0']);
    expect(report.released.map(({ what }) => what)).toEqual([
      'application a-db',
      'incomplete backup b-a in /backup',
      'mount /mnt/a',
      'snapshot a-0',
    ]);
    expect(recoverExitCode(report)).toBe(0);
    expect(await journalFiles()).toEqual([]);

    expect(await recover(dependencies())).toEqual({
      version: 1,
      released: [],
      failed: [],
      leftAlone: [],
      unreadable: [],
    });
  });

  it('says where a copy is kept for the next run, and keeps none of a snapshot that was lost', async () => {
    for (const job of ['a', 'b', 'c']) await aRun(job);
    for (const id of ['b-a', 'b-b']) keepable.add(id);
    lost.add('b-0');
    const { released: report } = await recover(dependencies());
    const backups = report.filter(({ kind }) => kind === 'backup');
    expect(new Set(backups.map(({ what, keptIn }) => [what, keptIn]))).toEqual(
      new Set([
        ['incomplete backup b-a in /backup', '/kept/b-a'],
        ['incomplete backup b-b in /backup', undefined],
        ['incomplete backup b-c in /backup', undefined],
      ]),
    );
  });

  it('first ends the copy programs that a dead run of this boot left, and no others', async () => {
    await aRun('a');
    await aRun('b');
    await aRun('c', 'another-boot');
    living.add('b');
    const endOrphans: RecoverDependencies['endOrphans'] = async ({ pid }, used) => {
      const before = released.filter((what) => /\b(?:b-a|a-0|a-db)$|\/a$/.test(what));
      orphans.push(`${pid}: ${used.toSorted().join(' ')} after ${before.length} releases`);
    };
    await recover(dependencies({ endOrphans }));
    expect(orphans).toEqual(['1: /backup /mnt/a after 0 releases']);
  });

  it('ends what a dead run of this boot left making snapshots before it releases one', async () => {
    for (const [job, boot] of [
      ['a', BOOT],
      ['b', 'another-boot'],
      ['c', BOOT],
    ] as const) {
      const owner = { job, runId: `run-${job}`, process: { bootId: boot, pid: 7, startTime: 9 } };
      const journal = openJournal(directories, owner);
      await journal.record('snapshot', ref(`${job}-0`));
      await journal.record('snapshot', ref(`${job}-1`));
      await journal.record('quiesce', { name: `${job}-db`, after: ['true'], timeoutMs: 1 });
      // It is made: what still bears its name serves it.
      await journal.record('exposure', { snapshot: ref(`${job}-1`), path: `/mnt/${job}` });
    }
    living.add('c');
    const asked: string[] = [];
    const endMakers: RecoverDependencies['endMakers'] = async ({ owner: { pid, startTime }, snapshots }) => {
      const names = snapshots.map(({ name }) => name).join(' ');
      asked.push(
        `${pid}-${startTime}: ${names}, after ${released.filter((what) => what.includes(' a-')).join(' ')}`,
      );
      return new Map();
    };
    const report = await recover(dependencies({ endMakers }));
    expect(asked).toEqual(['7-9: a-0, after quiesce a-db']);
    expect(report.failed).toEqual([]);
    expect(report.leftAlone).toHaveLength(4);
  });

  it('ends what a dead run of this boot left bringing an application to rest before it lets that go', async () => {
    const asked: string[] = [];
    for (const [job, boot] of [
      ['a', BOOT],
      ['b', 'another-boot'],
    ] as const) {
      const owner = { job, runId: `run-${job}`, process: { bootId: boot, pid: 7, startTime: 9 } };
      const journal = openJournal(directories, owner);
      const application = { after: ['true'], timeoutMs: 1 };
      const held = await journal.record('quiesce', { name: `${job}-held`, ...application });
      await held.amend({ name: `${job}-held`, ...application, isAtRest: true });
      await journal.record('quiesce', { name: `${job}-ended`, ...application });
      await journal.record('quiesce', { name: `${job}-stuck`, ...application });
    }
    const endHook: RecoverDependencies['endHook'] = async ({ pid, startTime, id, payload }) => {
      expect(released).not.toContain(`quiesce ${payload.name}`);
      asked.push(`${pid}-${startTime} ${id}`);
      return payload.name === 'a-stuck' ? 'sh (pid 5) still brings it to rest' : undefined;
    };
    const report = await recover(dependencies({ endHook }));
    expect(asked.toSorted()).toEqual(['7-9 run-a-1-quiesce', '7-9 run-a-2-quiesce']);
    const own = released.filter((what) => what.startsWith('quiesce a-'));
    expect(own.toSorted()).toEqual(['quiesce a-ended', 'quiesce a-held']);
    expect(released).toHaveLength(5);
    expect(report.failed).toMatchObject([
      { what: 'application a-stuck', message: 'sh (pid 5) still brings it to rest' },
    ]);
    expect((await journalFiles()).filter((name) => name.startsWith('run-a'))).toEqual([
      'run-a-2-quiesce.json',
    ]);
  });

  it('destroys the pool of a restore before what it lies in goes, and leaves that while it cannot', async () => {
    const own = (job: string): ReturnType<typeof openJournal> =>
      openJournal(directories, { job, runId: `run-${job}`, process: { bootId: BOOT, pid: 1, startTime: 1 } });
    for (const job of ['srv@drill', 'srv@restore']) {
      const at = `/out/${job}`;
      if (job === 'srv@drill') await own(job).record('drill', { directory: at });
      else await own(job).record('staging', { directory: at });
      const other = openJournal(directories, {
        job,
        runId: `second-${job}`,
        process: { bootId: BOOT, pid: 1, startTime: 1 },
      });
      await other.record('scratch-pool', { pool: `of ${job}`, file: `${at}/work/pool` });
      await other.record('staging', { directory: `/out/apart from ${job}` });
    }
    failing.add('pool of srv@drill');
    const used: string[] = [];
    const endOrphans: RecoverDependencies['endOrphans'] = async (_owner, of) => void used.push(...of);
    const report = await recover(dependencies({ endOrphans }));
    expect(used.toSorted()).toEqual(
      [
        '/out/srv@drill',
        '/out/srv@restore',
        '/out/apart from srv@drill',
        '/out/apart from srv@restore',
      ].toSorted(),
    );
    expect(report.failed.map(({ kind, message }) => `${kind}: ${message}`)).toEqual([
      'scratch-pool: pool of srv@drill is busy',
      'drill: the pool of srv@drill lies in it',
    ]);
    expect(released.toSorted()).toEqual([
      'pool of srv@restore',
      'staging /out/apart from srv@drill',
      'staging /out/apart from srv@restore',
      'staging /out/srv@restore',
    ]);
    expect(released.indexOf('pool of srv@restore')).toBeLessThan(
      released.indexOf('staging /out/srv@restore'),
    );
    expect(recoverExitCode(report)).toBe(60);
  });

  it('can be asked of some owners alone, and leaves the others and what is frozen', async () => {
    await aRun('a');
    await aRun('b');
    const recoverFreezes = (): never => {
      throw new Error('nobody asked for freezes');
    };
    const report = await recoverOwners((owner) => owner === 'b', dependencies({ recoverFreezes }));
    expect(report.failed).toEqual([]);
    expect(released.every((what) => what.includes('b'))).toBe(true);
    expect(released).toHaveLength(4);
    expect(await journalFiles()).toHaveLength(4);
  });

  it('keeps the entry of a snapshot that a program may still make, and goes on', async () => {
    await aRun('b');
    const journal = openJournal(directories, {
      job: 'a',
      runId: 'run-a',
      process: { bootId: BOOT, pid: 1, startTime: 1 },
    });
    await journal.record('snapshot', ref('a-0'));
    await journal.record('snapshot', ref('a-1'));
    const endMakers = async () => new Map([['a-0', 'lvcreate (pid 5) still makes it']]);
    const report = await recover(dependencies({ endMakers }));
    expect(report.failed).toMatchObject([
      { what: 'snapshot a-0', message: 'lvcreate (pid 5) still makes it' },
    ]);
    expect(recoverExitCode(report)).toBe(60);
    expect(released).toEqual(expect.arrayContaining(['snapshot a-1', 'snapshot b-0']));
    expect(await journalFiles()).toEqual(['run-a-0-snapshot.json']);
  });

  it('tells of a device that may be suspended as of something frozen', async () => {
    const journal = openJournal(directories, {
      job: 'a',
      runId: 'run-a',
      process: { bootId: BOOT, pid: 1, startTime: 1 },
    });
    await journal.record('snapshot', ref('a-0'));
    const suspended = new FsbackupError('thawFailed', 'vg-srv may still be suspended', { hint: 'Run it.' });
    const report = await recover(dependencies({ endMakers: () => Promise.reject(suspended) }));
    expect(report.failed).toMatchObject([
      { kind: 'freeze', what: '/srv', message: 'vg-srv may still be suspended. Run it.' },
      { kind: 'snapshot', what: 'snapshot a-0' },
    ]);
    expect(recoverExitCode(report)).toBe(22);
    expect(released).toEqual([]);
  });

  it('leaves alone what has a living owner', async () => {
    await aRun('a');
    await aRun('b');
    living.add('a');
    const report = await recover(dependencies());
    expect(released.every((what) => what.includes('b'))).toBe(true);
    expect(released).toHaveLength(4);
    expect(report.leftAlone.map(({ job }) => job)).toEqual(['a', 'a', 'a', 'a']);
    expect(recoverExitCode(report)).toBe(0);
    expect(await journalFiles()).toHaveLength(4);
  });

  it('tells of each run that died before it releases what that left, and of none that lives', async () => {
    await aRun('a');
    await aRun('b');
    const own = (runId: string): ReturnType<typeof openJournal> =>
      openJournal(directories, { job: 'a', runId, process: { bootId: BOOT, pid: 1, startTime: 2 } });
    await own('second-a').record('snapshot', ref('fsbackup-a-second-a-0'));
    // Of `backups prune`, and of `backups release`, which is of a snapshot of another run.
    await own('third-a').record('removal', { target: '/b', job: 'a', backupId: 'run-a' });
    await own('fourth-a').record('snapshot', ref('fsbackup-a-run-a-0'));
    living.add('b');
    const dead: string[] = [];
    await recover(
      dependencies({
        noteDead: async ({ job, runId, startedAt }) => {
          dead.push(`${job} ${runId} after ${released.length}`);
          expect(Date.parse(startedAt)).toBeGreaterThan(0);
        },
      }),
    );
    expect(dead).toEqual(['a run-a after 0', 'a second-a after 0']);
  });

  it('says what to do about what it cannot release', async () => {
    await aRun('a');
    const { releasers, ...others } = dependencies();
    const snapshot = async (): Promise<never> => {
      throw new FsbackupError('cleanupIncomplete', 'its disk is not mounted', { hint: 'Mount it.' });
    };
    const { failed } = await recover({ ...others, releasers: { ...releasers, snapshot } });
    expect(failed).toMatchObject([{ what: 'snapshot a-0', message: 'its disk is not mounted. Mount it.' }]);
  });

  it('goes on past a failure, keeps its entry, and never removes a snapshot that is still mounted', async () => {
    await aRun('a');
    await aRun('b');
    failing.add('exposure /mnt/a');
    const report = await recover(dependencies());
    expect(report.failed).toMatchObject([
      { what: 'mount /mnt/a', message: 'exposure /mnt/a is busy' },
      { what: 'snapshot a-0', message: 'it is still mounted' },
    ]);
    expect(released).toContain('snapshot b-0');
    expect(released).not.toContain('snapshot a-0');
    expect(recoverExitCode(report)).toBe(60);

    failing.clear();
    const later = await recover(dependencies());
    expect(later.released.map(({ what }) => what)).toEqual(['mount /mnt/a', 'snapshot a-0']);
    expect(await journalFiles()).toEqual([]);
  });

  it('takes mounts of another boot for gone; applications, snapshots and backups not', async () => {
    await aRun('a', 'another-boot');
    const report = await recover(dependencies());
    expect(released).toEqual(['quiesce a-db', 'backup b-a', 'snapshot a-0']);
    expect(report.failed).toEqual([]);
    expect(await journalFiles()).toEqual([]);
  });

  it('tells of an application of another boot that it cannot be let go, and how that is ended', async () => {
    await aRun('a', 'another-boot');
    failing.add('quiesce a-db');
    const report = await recover(dependencies());
    expect(report.failed).toMatchObject([
      {
        what: 'application a-db',
        message: expect.stringContaining('recover --goes-on run-a') as string,
      },
    ]);
    expect(await journalFiles()).toEqual(['run-a-1-quiesce.json']);
    expect((await recover(dependencies({ goesOn: 'run-a' }))).forgotten).toHaveLength(1);
    expect(await journalFiles()).toEqual([]);
  });

  it('reports entries that it cannot read, and deletes none of them', async () => {
    await aRun('a');
    await writeFile(path.join(directories.durable, 'zz.json'), 'not json');
    const report = await recover(dependencies());
    expect(report.unreadable).toMatchObject([{ reason: 'it is not JSON' }]);
    expect(report.released).toHaveLength(4);
    expect(recoverExitCode(report)).toBe(60);
    expect(await journalFiles()).toEqual(['zz.json']);
  });

  it('begins nothing more once it is interrupted, and lets go of the lock', async () => {
    await aRun('a');
    await aRun('b');
    const stop = new AbortController();
    let held = 0;
    const { releasers } = dependencies();
    const recovering = recover(
      dependencies({
        signal: stop.signal,
        releasers: {
          ...releasers,
          quiesce: async (entry) => {
            stop.abort(new Error('interrupted'));
            await releasers.quiesce(entry);
          },
        },
        lockJob: async (job) => {
          held += 1;
          return { name: job, release: async () => void (held -= 1) };
        },
      }),
    );
    await expect(recovering).rejects.toThrow('interrupted');
    expect(held).toBe(0);
    // What was begun is brought to its end.
    expect(released).toEqual([expect.stringMatching(/^quiesce [ab]-db$/)]);
    expect(await journalFiles()).toHaveLength(7);
  });

  it('thaws first, and tells of a filesystem that may still be frozen before all else', async () => {
    await aRun('a');
    const order: string[] = [];
    const report = await recover(
      dependencies({
        recoverFreezes: async () => {
          order.push(...released, 'freezes');
          return {
            recovered: [
              { mountpoint: '/x', outcome: 'thawed' },
              { mountpoint: '/y', outcome: 'was not frozen' },
            ],
            failures: ['/z may still be frozen: EIO'],
          };
        },
      }),
    );
    expect(order).toEqual(['freezes']);
    expect(report.released.filter(({ kind }) => kind === 'freeze').map(({ what }) => what)).toEqual(['/x']);
    expect(report.failed).toMatchObject([{ kind: 'freeze', message: '/z may still be frozen: EIO' }]);
    expect(recoverExitCode(report)).toBe(22);
    expect(released).toHaveLength(4);
  });

  it('survives a recovery of freezes that throws', async () => {
    await aRun('a');
    const report = await recover(
      dependencies({ recoverFreezes: () => Promise.reject(new Error('no addon')) }),
    );
    expect(report.failed).toMatchObject([{ kind: 'freeze', message: 'no addon' }]);
    expect(released).toHaveLength(4);
  });

  it('does not release again what the owner released before it died', async () => {
    await aRun('a');
    const report = await recover(
      dependencies({
        lockJob: async (job) => {
          // The owner finished between our reading and our getting the lock.
          await rm(directories.durable, { recursive: true });
          await rm(directories.volatile, { recursive: true });
          return { name: job, release: async () => undefined };
        },
      }),
    );
    expect(released).toEqual([]);
    expect(report.released).toEqual([]);
  });

  it('drops writes that were cut short long ago, and no younger ones', async () => {
    await mkdir(directories.durable, { recursive: true });
    const old = path.join(directories.durable, 'old.json.tmp');
    await writeFile(old, '');
    await utimes(old, 0, 0);
    await writeFile(path.join(directories.durable, 'new.json.tmp'), '');
    await recover(dependencies());
    expect(await journalFiles()).toEqual(['new.json.tmp']);
  });
});

describe('what is to be forgotten', () => {
  const forget = async (overrides: Partial<RecoverDependencies> = {}) =>
    await recover(dependencies({ forget: 'run-a', ...overrides }));

  it('is what lies on storage that is gone, of that run alone', async () => {
    for (const job of ['a', 'b']) {
      await aRun(job);
      absent.set(`snapshot ${job}-0`, undefined);
    }
    const report = await forget();
    expect(report.forgotten).toEqual([
      { kind: 'snapshot', what: 'snapshot a-0', job: 'a', runId: 'run-a', left: 'snapshot a-0 on a disk' },
    ]);
    expect(report.failed.map(({ what }) => what)).toEqual(['snapshot b-0']);
    expect(report.failed[0]?.message).toContain('fsbackup recover --forget run-b');
    expect(await journalFiles()).toEqual(['run-b-0-snapshot.json']);
  });

  it.each([
    ['its device is there', () => absent.set('snapshot a-0', '/dev/sdx'), 60],
    ['it fails otherwise', () => failing.add('snapshot a-0'), 60],
    ['its application may be at rest', () => failing.add('quiesce a-db'), 60],
  ])('is nothing where %s', async (_, make, code) => {
    await aRun('a');
    absent.set('snapshot a-0', undefined);
    make();
    if (failing.has('snapshot a-0')) absent.clear();
    const report = await forget();
    expect(report.forgotten).toEqual([]);
    expect(report.failed.find(({ kind }) => kind === 'snapshot')?.message).toContain('It is not forgotten');
    expect(recoverExitCode(report, 'run-a')).toBe(code);
    expect(await journalFiles()).toContain('run-a-0-snapshot.json');
  });

  it('is an application that cannot be let go, where somebody says that it goes on, of that run alone', async () => {
    for (const job of ['a', 'b']) {
      await aRun(job);
      failing.add(`quiesce ${job}-db`);
    }
    const told = await recover(dependencies());
    expect(told.failed.map(({ message }) => message).toSorted()).toEqual([
      expect.stringContaining('fsbackup recover --goes-on run-a'),
      expect.stringContaining('fsbackup recover --goes-on run-b'),
    ]);
    const report = await recover(dependencies({ goesOn: 'run-a' }));
    expect(report.forgotten).toMatchObject([{ kind: 'quiesce', job: 'a', runId: 'run-a' }]);
    expect(report.failed).toMatchObject([{ kind: 'quiesce', runId: 'run-b' }]);
  });

  it('is nothing where something may still be frozen, nor of a run that lives', async () => {
    await aRun('a');
    absent.set('snapshot a-0', undefined);
    const frozen = await forget({ recoverFreezes: async () => ({ recovered: [], failures: ['/srv'] }) });
    expect([frozen.forgotten, recoverExitCode(frozen, 'run-a')]).toEqual([[], 22]);
    living.add('a');
    const alive = await forget();
    expect([alive.forgotten, recoverExitCode(alive, 'run-a')]).toEqual([[], 11]);
    expect(await journalFiles()).toContain('run-a-0-snapshot.json');
  });
});
