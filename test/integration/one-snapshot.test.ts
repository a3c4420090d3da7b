import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { startPairLogs } from '../support/pair-logs.js';
import { must, ThrowawayDisks } from '../support/throwaway-filesystem.js';

const ROUNDS = 3;

const disks = new ThrowawayDisks();
let cli: FsbackupCli;
let target: string;
let stopWriter: () => Promise<void>;

beforeEach(async () => {
  cli = new FsbackupCli(disks.directory);
  target = path.join(disks.directory, 'backups');
  stopWriter = async () => {};
  await mkdir(target);
});

afterEach(async () => {
  await stopWriter();
  await disks.dispose();
});

/** Writes to a log in the first and then to one in the second, so that the second is never ahead, until `stopWriter`. */
async function writePairs(...directories: [string, string]): Promise<void> {
  const writer = startPairLogs(directories);
  stopWriter = writer.stop;
  await writer.begun();
}

async function bind(directory: string, name: string): Promise<string> {
  const mountpoint = path.join(disks.directory, name);
  await mkdir(mountpoint);
  await must('mount', '--bind', directory, mountpoint);
  return mountpoint;
}

function jobOf(...sources: string[]): string[] {
  return ['--job', 'pair', ...sources.flatMap((source) => ['--source', source]), '--to', target];
}

/** How far the second log of a backup is behind the first. */
async function behind(backupId: string, sources: readonly string[]): Promise<number> {
  const [first = 0, second = 0] = await Promise.all(
    sources.map(async (source) => {
      const file = path.join(target, 'pair', backupId, 'data', source, 'log');
      return Number((await readFile(file, 'utf8')).split('\n').at(-2));
    }),
  );
  return first - second;
}

/** Backs both up again and again. What is odd about it: nothing, when one snapshot served both each time. */
async function oddities(sources: readonly [string, string], provider: string): Promise<unknown[]> {
  const odd: unknown[] = [];
  const before = await disks.leftovers();
  for (let round = 0; round < ROUNDS; round += 1) {
    const { exitCode, value, stderr } = await cli.runJob(...jobOf(...sources));
    if (exitCode !== 0) odd.push(stderr);
    const served = value.sources.map(({ mountpoint, otherMountpoints, ...one }) => [
      one.provider,
      one.instant,
      mountpoint,
      ...(otherMountpoints ?? []),
    ]);
    if (value.oneInstant !== true || !isDeepStrictEqual(served, [[provider, 1, ...sources]])) odd.push(value);
    const by = await behind(value.runId, sources);
    if (by !== 0 && by !== 1) odd.push({ round, by });
  }
  if (!isDeepStrictEqual(await disks.leftovers(), before)) odd.push(await disks.leftovers());
  return [...odd, ...(await cli.journalEntries())];
}

const TOOLS = ['root', 'loop', 'ext4', 'xfs', 'btrfs', 'program:rsync'] as const;

describeNeeding(TOOLS, 'two directories of one filesystem, mounted by themselves', () => {
  it('come from one clone of its image', async () => {
    const disk = await disks.filesystem({ fstype: 'ext4', on: await disks.filesystem({ fstype: 'xfs' }) });
    const [first, second] = ['first', 'second'].map((name) => path.join(disk.mountpoint, name)) as [
      string,
      string,
    ];
    for (const directory of [first, second]) await mkdir(directory);
    await writePairs(first, second);
    const sources = [await bind(first, 'one'), await bind(second, 'two')] as [string, string];
    expect(await oddities(sources, 'reflink')).toEqual([]);
  });

  it('come from one snapshot of their btrfs subvolume, at the places that they have in it', async () => {
    const { mountpoint } = await disks.filesystem({ fstype: 'btrfs' });
    const subvolume = path.join(mountpoint, 'subvolume');
    await must('btrfs', 'subvolume', 'create', subvolume);
    const [first, second] = ['deep/first', 'deep/second'].map((name) => path.join(subvolume, name)) as [
      string,
      string,
    ];
    for (const directory of [first, second]) await mkdir(directory, { recursive: true });
    await writePairs(first, second);
    const sources = [await bind(first, 'one'), await bind(second, 'two')] as [string, string];
    expect(await oddities(sources, 'btrfs')).toEqual([]);
  });

  it('below a source too, with what shows all of it', async () => {
    const disk = await disks.filesystem({ fstype: 'ext4', on: await disks.filesystem({ fstype: 'xfs' }) });
    const [inside, again] = ['inside', 'again'].map((name) => path.join(disk.mountpoint, name)) as [
      string,
      string,
    ];
    for (const directory of [inside, again]) await mkdir(directory);
    await writeFile(path.join(inside, 'log'), '1\n');
    await must('mount', '--bind', inside, again);
    const { exitCode, value, stderr } = await cli.runJob(...jobOf(disk.mountpoint), '--recursive');
    expect(exitCode, stderr).toBe(0);
    expect(value.sources).toMatchObject([{ mountpoint: disk.mountpoint, otherMountpoints: [again] }]);
    expect(await behind(value.runId, [inside, again])).toBe(0);
  });
});

describeNeeding(TOOLS, 'sources that cannot be at one instant', () => {
  async function twoSubvolumes(): Promise<[string, string]> {
    const { mountpoint } = await disks.filesystem({ fstype: 'btrfs' });
    const both = ['first', 'second'].map((name) => path.join(mountpoint, name)) as [string, string];
    for (const subvolume of both) await must('btrfs', 'subvolume', 'create', subvolume);
    return both;
  }

  it('are backed up, and plan and report say that they are not, without a warning', async () => {
    const sources = await twoSubvolumes();
    const plan = await cli.plan(...jobOf(...sources));
    expect(plan.value).toMatchObject({
      oneInstant: false,
      warnings: [],
      sources: [{ instant: 1 }, { instant: 2 }],
    });
    const { exitCode, value } = await cli.runJob(...jobOf(...sources));
    expect(exitCode).toBe(0);
    expect(value).toMatchObject({
      oneInstant: false,
      warnings: [],
      sources: [{ instant: 1 }, { instant: 2 }],
    });
    const { stdout } = await cli.run('run', ...jobOf(...sources));
    expect(stdout.split('\n').filter((line) => line.includes('one instant'))).toEqual([
      `  not at one instant: ${sources.join('; ')}`,
    ]);
  });

  it('are refused before anything is done, where the job must be at one', async () => {
    const sources = await twoSubvolumes();
    const config = path.join(disks.directory, 'config.yaml');
    const job = { sources, targets: [target], mustBeOneInstant: true };
    await writeFile(config, stringify({ version: 1, jobs: { pair: job } }), { mode: 0o600 });
    const { exitCode, value } = await cli.runJob('pair', '--config', config);
    expect(exitCode).toBe(2);
    expect(value).toMatchObject({
      error: { code: 'usage', message: expect.stringContaining(sources.join('; ')) as string },
      copies: [],
    });
    expect(await cli.journalEntries()).toEqual([]);
  });
});
