import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { armFreezer } from '../../src/freeze/arm-freezer.js';
import type { FreezeTarget } from '../../src/freeze/freezer.js';
import type { SnapshotRef } from '../../src/snapshots/provider.js';
import { providerByName } from '../../src/snapshots/registry.js';
import { readFilesystemFacts } from '../../src/system/filesystem-facts.js';
import { readLogicalVolumes } from '../../src/system/lvm.js';
import { runCommand } from '../../src/system/run-command.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { describeInLab } from '../support/lab.js';
import { LabVolumeGroup, storageState, type LabVolume } from '../support/lvm-lab.js';

const ROUNDS = 20;
const NEVER = new AbortController().signal;
const PROJECT = path.resolve(import.meta.dirname, '../..');

describeInLab({}, 'two volumes of one job', ({ disks, kernel }) => {
  let group: LabVolumeGroup;
  let first: LabVolume;
  let second: LabVolume;
  const stopping = new AbortController();
  let writer: ReturnType<typeof runCommand>;

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
  });

  afterAll(async () => {
    stopping.abort();
    await writer;
    await group.dispose();
  });

  async function lastIn(directory: string): Promise<number> {
    const lines = (await readFile(path.join(directory, 'log'), 'utf8')).split('\n');
    return Number(lines.at(-2) ?? 0);
  }

  /** One window over both, and what each snapshot holds last. */
  async function snapshotBoth(round: number): Promise<number[]> {
    const facts = await Promise.all(
      [first, second].map(({ mountpoint }) =>
        readFilesystemFacts(mountpoint, { readVolumes: readLogicalVolumes }),
      ),
    );
    const targets: FreezeTarget[] = facts.map(({ filesystem: { mount } }) => ({
      mountpoint: mount.mountpoint,
      majorMinor: mount.majorMinor,
      device: mount.source,
      fstype: mount.fstype,
    }));
    const provider = providerByName('lvm');
    const refs: SnapshotRef[] = await provider.prepare(
      facts.map(({ filesystem }, index) => ({
        filesystem,
        name: `fsbackup-group-${round}-${index}`,
        freezeMode: 'explicit',
      })),
    );
    const lasts: number[] = [];
    try {
      await provider.makeReady?.(refs, { signal: NEVER });
      const freezer = await armFreezer({ targets, devices: [] }, { timeoutMs: 60_000, maxHoldMs: 100_000 });
      try {
        await freezer.freeze();
        await provider.create(refs, { signal: NEVER });
      } finally {
        await freezer.thaw();
        await freezer.close();
      }
      for (const ref of refs) {
        const directory = path.join(group.directory, `shown-${ref.name}`);
        await mkdir(directory);
        const exposure = await provider.expose(ref, directory);
        lasts.push(await lastIn(directory));
        await provider.unexpose(exposure);
      }
    } finally {
      for (const ref of refs) await provider.remove(ref);
    }
    return lasts;
  }

  it('are at one instant where the kernel nests: the second is never ahead of the first', async () => {
    if (kernel !== 'nests') return;
    const before = await storageState();
    for (let round = 0; round < ROUNDS; round += 1) {
      const [inFirst = 0, inSecond = 0] = await snapshotBoth(round);
      expect({ round, behind: inFirst - inSecond }).toEqual({
        round,
        behind: expect.toSatisfy((behind) => behind === 0 || behind === 1),
      });
    }
    expect(await storageState()).toEqual(before);
  }, 900_000);

  it('are planned so, or the plan says that they are not', async () => {
    const cli = new FsbackupCli(group.directory);
    const target = path.join(group.directory, 'target');
    await mkdir(target);
    const sources = [first, second].flatMap(({ mountpoint }) => ['--source', mountpoint]);
    const { value } = await cli.plan('--job', 'pair', ...sources, '--to', target);
    const modes = value.sources.map(({ freezeMode }) => freezeMode);
    const said = value.warnings.filter((warning) => warning.includes('not at one instant'));
    expect({ modes, said: said.length > 0 }).toEqual(
      kernel === 'nests'
        ? { modes: ['explicit', 'explicit'], said: false }
        : { modes: ['native', 'native'], said: true },
    );
  });
});
