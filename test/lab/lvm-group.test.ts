import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { runCommand } from '../../src/system/run-command.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { describeInLab } from '../support/lab.js';
import { LabVolumeGroup, storageState, type LabVolume } from '../support/lvm-lab.js';

/** Thorough, and otherwise. */
const ROUNDS = 20;
const FEW_ROUNDS = 5;
const PROJECT = path.resolve(import.meta.dirname, '../..');

describeInLab({}, 'two volumes of one job', ({ disks, kernel, thorough }) => {
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

  afterAll(async () => {
    stopping.abort();
    await writer;
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
    for (let round = 0; round < (thorough ? ROUNDS : FEW_ROUNDS); round += 1) {
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
