import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { frozenWindowOf } from '../../scripts/demo-lib/timeline.js';
import { runCommand } from '../../src/system/run-command.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { describeInLab } from '../support/lab.js';
import { startLogWriter } from '../support/log-writer.js';
import { LabVolumeGroup, storageState, type LabVolume } from '../support/lvm-lab.js';
import { checkRecords, parseRecords } from '../support/records.js';
import { must } from '../support/throwaway-filesystem.js';

const ROUNDS = 20;
const PROJECT = path.resolve(import.meta.dirname, '../..');

describeInLab({}, 'two volumes of one job', ({ disks, kernel }) => {
  let group: LabVolumeGroup;
  let first: LabVolume;
  let second: LabVolume;
  const stopping = new AbortController();
  let writer: ReturnType<typeof runCommand>;
  let cli: FsbackupCli;
  let target: string;
  let job: string[];

  beforeAll(async () => {
    group = await LabVolumeGroup.make('lab-group', disks.slice(0, 2));
    await group.pool('pool', 800);
    first = await group.volume({ lv: 'first', fstype: 'ext4' });
    second = await group.volume({ lv: 'second', fstype: 'xfs', pool: 'pool' });
    const files = [first, second].map(({ mountpoint }) => path.join(mountpoint, 'log'));
    writer = runCommand([process.execPath, '--import', 'tsx', 'test/support/pair-writer.ts', ...files], {
      cwd: PROJECT,
      signal: stopping.signal,
    });
    while (!files.every((file) => existsSync(file))) await sleep(50);
    cli = new FsbackupCli(group.directory);
    target = path.join(group.directory, 'target');
    await mkdir(target);
    const sources = [first, second].flatMap(({ mountpoint }) => ['--source', mountpoint]);
    job = ['--job', 'pair', ...sources, '--to', target];
  });

  /** Ends the writer of pairs, which keeps both busy. Idempotent. */
  async function stopWriter(): Promise<void> {
    stopping.abort();
    await writer;
  }

  afterAll(async () => {
    await stopWriter();
    await group.dispose();
  });

  /** What a backup of both holds last in each. */
  async function lastOf(backupId: string): Promise<number[]> {
    return await Promise.all(
      [first, second].map(async ({ mountpoint }) => {
        const file = path.join(target, 'pair', backupId, 'data', mountpoint, 'log');
        return Number((await readFile(file, 'utf8')).split('\n').at(-2) ?? 0);
      }),
    );
  }

  it('are at one instant where the kernel nests: the second is never ahead of the first', async () => {
    if (kernel !== 'nests') return;
    const before = await storageState();
    for (let round = 0; round < ROUNDS; round += 1) {
      const { exitCode, value, stderr } = await cli.runJob(...job);
      expect(exitCode, stderr).toBe(0);
      expect(value.sources).toMatchObject([{ freezeMode: 'explicit' }, { freezeMode: 'explicit' }]);
      const [inFirst = 0, inSecond = 0] = await lastOf(value.runId);
      expect(inFirst).toBeGreaterThan(0);
      expect({ round, behind: inFirst - inSecond }).toEqual({
        round,
        behind: expect.toSatisfy((behind) => behind === 0 || behind === 1),
      });
    }
    expect(await storageState()).toEqual(before);
  }, 1_800_000);

  it('may hold what LVM writes by itself: its archive and its backups', async () => {
    if (kernel !== 'nests') return;
    const held = path.join(first.mountpoint, 'lvm');
    await must('cp', '-a', '/etc/lvm', held);
    await must('mount', '--bind', held, '/etc/lvm');
    try {
      await writeFile('/etc/lvm/lvm.conf', 'backup { backup = 1 archive = 1 }\n');
      const { value, stderr } = await cli.runJob(...job);
      expect(value.exitCode, stderr).toBe(0);
      expect(value.sources).toMatchObject([
        { freezeMode: 'explicit', attempts: 1 },
        { freezeMode: 'explicit', attempts: 1 },
      ]);
    } finally {
      await must('umount', '/etc/lvm');
      await must('rm', '-r', held);
    }
  }, 300_000);

  it('come back with all that was acknowledged before, and can be mounted again', async () => {
    if (kernel !== 'nests') return;
    const volumes = [first, second];
    const writers = volumes.map(({ mountpoint }) => startLogWriter(path.join(mountpoint, 'records')));
    let run;
    try {
      for (const { acknowledged } of writers) await acknowledged(20);
      run = await cli.runJob(...job);
      for (const { acknowledged, acknowledgements } of writers)
        await acknowledged(acknowledgements.length + 10);
    } finally {
      for (const { stop } of writers) await stop();
    }
    const { value } = run;
    expect(value.exitCode, run.stderr).toBe(0);
    const restored = path.join(group.directory, 'restored');
    const restore = await cli.run('restore', 'pair', '--from', target, '--to', restored);
    expect(restore.exitCode, restore.stderr).toBe(0);
    const window = frozenWindowOf(value.startedAt, value.steps);
    if (window === undefined) throw new Error('the report shows no frozen window');
    for (const [index, { mountpoint }] of volumes.entries()) {
      const text = await readFile(path.join(restored, mountpoint, 'records'), 'utf8');
      const { acknowledgements } = writers[index] ?? { acknowledgements: [] };
      expect(checkRecords(text, acknowledgements, window)).toEqual([]);
      expect(parseRecords(text).records.length).toBeLessThan(acknowledgements.length);
    }
    // What tells a kernel that nests from one that leaks: there, one of these would fail.
    await stopWriter();
    for (const { mountpoint, device } of volumes) {
      await must('umount', mountpoint);
      await must('mount', device, mountpoint);
      await writeFile(path.join(mountpoint, 'after'), 'writable again');
    }
  }, 900_000);

  it('say in the report that they are not, where the kernel does not nest', async () => {
    if (kernel === 'nests') return;
    const { value } = await cli.runJob(...job);
    expect(value).toMatchObject({
      exitCode: 3,
      warnings: expect.arrayContaining([expect.stringContaining('not at one instant')]),
      sources: [
        { freezeMode: 'native', consistency: 'filesystem', attempts: 1 },
        { freezeMode: 'native', consistency: 'filesystem', attempts: 1 },
      ],
    });
  });

  it('are planned so, or the plan says that they are not', async () => {
    const { value } = await cli.plan(...job);
    const modes = value.sources.map(({ freezeMode }) => freezeMode);
    const said = value.warnings.filter((warning) => warning.includes('not at one instant'));
    expect({ modes, said: said.length > 0 }).toEqual(
      kernel === 'nests'
        ? { modes: ['explicit', 'explicit'], said: false }
        : { modes: ['native', 'native'], said: true },
    );
  });
});
