import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { listBackups } from '../../src/copy/backup/backup-list.js';
import { isRetryable } from '../../src/copy/copy-error.js';
import type { CopyBase } from '../../src/copy/engine.js';
import { readZfsContents } from '../../src/copy/zfs/zfs-contents.js';
import { runCommand } from '../../src/system/run-command.js';
import { sendEngineContract } from '../contract/send-engine.js';
import { copyRequest } from '../support/engine-requests.js';
import { findProcesses } from '../support/find-processes.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { describeInLab } from '../support/lab.js';
import { LabPool } from '../support/lab-pool.js';
import { SendHarness, type ExposedSnapshot } from '../support/send-harness.js';
import { LAB_SIZES } from '../support/lab-sizes.js';
import { must } from '../support/throwaway-filesystem.js';
import { wipeDisks } from '../support/wipe-disks.js';
import { zfsSendWorld, type ZfsSendWorld } from '../support/zfs-send-world.js';

/** Of the stream. Some MiB of it are on their way then, and lost. */
const DROP_AFTER = 16 * 1024 ** 2;

describeInLab({ zfs: true }, 'snapshots of ZFS', ({ disks }) => {
  const traits = { name: 'zfs-send', makesIncrements: true, sizes: LAB_SIZES } as const;
  for (const to of ['dataset', 'ssh', 'files'] as const) {
    sendEngineContract(() => zfsSendWorld(disks, to), {
      ...traits,
      title: `to ${to}`,
      isWhole: to !== 'files',
      ...(to === 'dataset' ? {} : { isVariant: true }),
    });
  }
});

describeInLab({ zfs: true }, 'snapshots of ZFS that are sent over ssh', ({ disks }) => {
  let world: ZfsSendWorld;
  let harness: SendHarness;

  beforeAll(async () => {
    world = await zfsSendWorld(disks, 'ssh');
    harness = new SendHarness(world);
  });

  afterAll(async () => {
    await world.dispose();
  });

  beforeEach(() => harness.clear());

  /** What the far end knows of the receive that was cut short, once it has noticed. */
  async function resumeToken(dataset: string): Promise<string> {
    for (;;) {
      const receiving = await runCommand(['pgrep', '-f', 'zfs receive -s'], { timeoutMs: 60_000 });
      // Nothing else means that there is none; and what is kept is kept at its end.
      if (receiving.exitCode === 1) break;
      await sleep(100);
    }
    return await must('zfs', 'get', '-H', '-o', 'value', 'receive_resume_token', dataset);
  }

  /** Copies until the connection is dropped after some MiB, then again. Returns what went at each time. */
  async function copyTwice(
    snapshot: ExposedSnapshot,
    base?: CopyBase,
  ): Promise<{ dataDirectory: string; first: number; second: number; base: CopyBase }> {
    const { dataDirectory, ...backup } = await harness.backup();
    const request = copyRequest([snapshot.source], dataDirectory, { backup, base });
    let first = 0;
    const dropped = harness.engine.copy({
      ...request,
      onProgress: ({ bytes }) => {
        const isFirst = first < DROP_AFTER;
        first = bytes;
        if (isFirst && first >= DROP_AFTER) world.server?.dropConnections();
      },
    });
    const error: unknown = await dropped.catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'copyFailed', exitCode: 40 });
    expect(isRetryable(error)).toBe(true);
    const { snapshots } = await readZfsContents(dataDirectory);
    expect(await resumeToken(snapshots[0]?.dataset ?? '')).toMatch(/^1-/);
    const result = await harness.engine.copy(request);
    return {
      dataDirectory,
      first,
      second: result.bytes,
      base: { ...backup, dataDirectory, snapshots: result.keep ?? [] },
    };
  }

  it('goes on where the connection was lost, of a full one and of an increment', async () => {
    await harness.random('large', 32);
    const one = await world.snapshot();
    const full = await copyTwice(one);
    expect(full.second).toBeLessThan(28 * 1024 ** 2);
    const sources = [one.source];
    expect(await harness.differences({ ...full, sources }, one)).toEqual([]);
    await one.hide();
    await harness.random('more', 32);
    const two = await world.snapshot();
    const increment = await copyTwice(two, full.base);
    expect(increment.second).toBeLessThan(28 * 1024 ** 2);
    expect(await harness.differences({ ...increment, sources }, two)).toEqual([]);
    await one.remove();
    await two.remove();
    // Four transfers of 32 MiB took more than four minutes on a guest that had half a processor.
  }, 900_000);
});

describeInLab({ zfs: true }, 'a run that sends a dataset', ({ disks: [disk = '', other = ''] }) => {
  let pool: LabPool;
  let received: LabPool;
  let cli: FsbackupCli;
  let plain: string;
  let secret: string;

  beforeAll(async () => {
    await wipeDisks([disk, other]);
    pool = await LabPool.make('lab-plain', [disk]);
    received = await LabPool.make('lab-got', [other]);
    plain = await pool.dataset('srv');
    const key = path.join(pool.directory, 'key');
    await writeFile(key, 'x'.repeat(32));
    const encrypted = ['encryption=on', 'keyformat=raw', `keylocation=file://${key}`];
    secret = await pool.dataset('secret', ...encrypted);
    const directory = path.join(pool.directory, 'fsbackup');
    await mkdir(directory);
    cli = new FsbackupCli(directory);
  });

  afterAll(async () => {
    await received.dispose();
    await pool.dispose();
  });

  async function config(
    job: string,
    source: string,
    to: Readonly<Record<string, unknown>> = { repository: 'lab-got/backups', initialise: true },
  ): Promise<string> {
    const file = path.join(pool.directory, `${job}.yaml`);
    const targets = [{ engine: 'zfs-send', ...to }];
    const jobs = { [job]: { sources: [source], targets, keep: { last: 1 } } };
    await writeFile(file, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
    return file;
  }

  /** Two runs of a job that keeps one backup, the second an increment. Returns what is in the target then. */
  async function runTwice(
    job: string,
    source: string,
    dataset: string,
  ): Promise<{ file: string; there: string }> {
    await must('dd', 'if=/dev/urandom', `of=${source}/large`, 'bs=1M', 'count=16', 'status=none');
    const file = await config(job, source);
    const first = await cli.runJob(job, '--config', file);
    expect(first.exitCode, first.stderr).toBe(0);
    await writeFile(path.join(source, 'file'), 'second');
    const second = await cli.runJob(job, '--config', file);
    expect(second.exitCode, second.stderr).toBe(0);
    expect(second.value.warnings).toEqual([]);
    expect(second.value.copies[0]?.bytes).toBeLessThan((first.value.copies[0]?.bytes ?? 0) / 4);
    const kept = `${dataset}@${second.value.sources[0]?.snapshot}`;
    expect(await snapshotsOf(dataset)).toEqual([kept]);
    expect(await must('zfs', 'holds', '-H', kept)).toMatch(/\tfsbackup\t/);
    expect(await cli.journalEntries()).toEqual([]);
    // Retention took the first one, with its snapshot and nothing else.
    const there = await snapshotsOf(`lab-got/backups/${job}`);
    expect(there).toHaveLength(1);
    const catalogue = path.join(cli.environment.FSBACKUP_STATE_DIR, 'catalogue');
    const name = await must('ls', catalogue);
    expect((await listBackups(path.join(catalogue, name))).filter((one) => one.job === job)).toHaveLength(1);
    const verified = await cli.run('backups', 'verify', job, '--full', '--config', file);
    expect(verified.exitCode, verified.stdout + verified.stderr).toBe(0);
    return { file, there: there[0] ?? '' };
  }

  async function snapshotsOf(dataset: string): Promise<string[]> {
    const listed = await must('zfs', 'list', '-H', '-t', 'snapshot', '-o', 'name', '-r', dataset);
    return listed.split('\n').filter((name) => name !== '');
  }

  it('holds one snapshot between runs, sends what changed, and restores it', async () => {
    const { file } = await runTwice('plain', plain, 'lab-plain/srv');
    const out = path.join(pool.directory, 'out-plain');
    const restored = await cli.run('restore', 'plain', '--config', file, '--to', out);
    expect(restored.exitCode, restored.stderr).toBe(0);
    expect(await readFile(path.join(out, plain, 'file'), 'utf8')).toBe('second');
    const released = await cli.run('backups', 'release', 'plain');
    expect(released.exitCode, released.stderr).toBe(0);
    expect(await snapshotsOf('lab-plain/srv')).toEqual([]);
  });

  it('sends an encrypted dataset without its key, which restoring then needs', async () => {
    const { file, there } = await runTwice('secret', secret, 'lab-plain/secret');
    const [dataset = ''] = there.split('@');
    expect(await must('zfs', 'get', '-H', '-o', 'value', 'keystatus', dataset)).toBe('unavailable');
    const out = path.join(pool.directory, 'out-secret');
    expect((await cli.run('restore', 'secret', '--config', file, '--to', out)).exitCode).not.toBe(0);
    await must('zfs', 'load-key', '-L', `file://${path.join(pool.directory, 'key')}`, dataset);
    const restored = await cli.run('restore', 'secret', '--config', file, '--to', out);
    expect(restored.exitCode, restored.stderr).toBe(0);
    expect(await must('cmp', `${secret}/large`, path.join(out, secret, 'large'))).toBe('');
  });

  describe('into files, restored by way of a pool of its own', () => {
    let file: string;
    let count = 0;

    beforeAll(async () => {
      await must('dd', 'if=/dev/urandom', `of=${plain}/large`, 'bs=1M', 'count=48', 'status=none');
      const to = path.join(pool.directory, 'files');
      await mkdir(to);
      file = await config('files', plain, { path: to });
      const { exitCode, stderr } = await cli.runJob('files', '--config', file);
      expect(exitCode, stderr).toBe(0);
    });

    /** Of pools that restores made, what there is: the pools, and what was received into them. */
    async function scratchDatasets(): Promise<string[]> {
      const listed = await must('zfs', 'list', '-H', '-o', 'name');
      return listed.split('\n').filter((name) => name.startsWith('fsbackup-restore-'));
    }

    /** Kills a restore, of its whole process group, when of its pool so much is there. */
    async function killedWith(datasets: number): Promise<string> {
      count += 1;
      const out = path.join(pool.directory, `out-files-${count}`);
      const started = cli.start('restore', 'files', '--config', file, '--to', out);
      while ((await scratchDatasets()).length < datasets) {
        if (started.hasEnded) throw new Error(`it ended before: ${started.output}`);
        await sleep(20);
      }
      started.kill('SIGKILL');
      expect(await started.ended(), started.output).toBe('SIGKILL');
      return out;
    }

    it.each([
      { what: 'its pool', datasets: 1 },
      { what: 'a dataset that is being received', datasets: 2 },
    ])('leaves, when it is killed, $what, which recover destroys', async ({ datasets }) => {
      const out = await killedWith(datasets);
      const { exitCode, value } = await cli.recover();
      expect([exitCode, value.failed]).toEqual([0, []]);
      expect(value.released.map(({ kind }) => kind).toSorted()).toEqual(['scratch-pool', 'staging']);
      expect(await scratchDatasets()).toEqual([]);
      expect(await readdir(out)).toEqual([]);
      expect(await cli.journalEntries()).toEqual([]);
      expect(await findProcesses('zfs', 'receive')).toEqual([]);
      const restored = await cli.run('restore', 'files', '--config', file, '--to', out);
      expect(restored.exitCode, restored.stderr).toBe(0);
      expect(await must('cmp', `${plain}/large`, path.join(out, plain, 'large'))).toBe('');
      expect(await scratchDatasets()).toEqual([]);
    });
  });
});
