import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import type { QuiesceConfig } from '../../src/config/types.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { describeInLab } from '../support/lab.js';
import { LabVolumeGroup, storageState, type LabVolume } from '../support/lvm-lab.js';
import { must } from '../support/throwaway-filesystem.js';

/** The volume can be written to, unmounted and mounted again. */
async function expectWhole({ mountpoint, device }: LabVolume): Promise<void> {
  await writeFile(path.join(mountpoint, 'written'), 'it is not frozen');
  await must('umount', mountpoint);
  await must('mount', device, mountpoint);
}

/** As `expectWhole`, and it can be backed up. */
async function expectGood(volume: LabVolume, cli: FsbackupCli, target: string): Promise<void> {
  await expectWhole(volume);
  const again = await cli.runJob('--job', 'again', '--source', volume.mountpoint, '--to', target);
  expect(again.exitCode, again.stderr).toBe(0);
  await expectWhole(volume);
}

describeInLab({}, 'an origin on LVM that somebody else froze', ({ disks }) => {
  let group: LabVolumeGroup;
  let volumes: { classic: LabVolume; thin: LabVolume };
  let target: string;
  let cli: FsbackupCli;
  let before: string[];

  beforeAll(async () => {
    group = await LabVolumeGroup.make('lab-frozen', disks.slice(0, 2));
    await group.pool('pool', 500);
    volumes = {
      classic: await group.volume({ lv: 'classic', fstype: 'ext4', sizeMiB: 100 }),
      thin: await group.volume({ lv: 'thin', fstype: 'xfs', pool: 'pool' }),
    };
    cli = new FsbackupCli(group.directory);
    target = path.join(group.directory, 'target');
    await mkdir(target);
  });

  afterAll(async () => {
    await group.dispose();
  });

  beforeEach(async () => {
    before = await storageState();
  });

  afterEach(async () => {
    expect(await storageState()).toEqual(before);
    expect(await cli.journalEntries()).toEqual([]);
  });

  async function configure(
    job: string,
    source: string,
    quiesce: Partial<QuiesceConfig>[] = [],
  ): Promise<string> {
    const file = path.join(group.directory, `${job}.yaml`);
    const jobs = { [job]: { sources: [source], targets: [target], attempts: 2, quiesce } };
    await writeFile(file, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
    return file;
  }

  it.each(['classic', 'thin'] as const)(
    '%s: is refused, left to its holder, and whole afterwards',
    async (kind) => {
      const volume = volumes[kind];
      const file = await configure(`held-${kind}`, volume.mountpoint);
      await must('fsfreeze', '--freeze', volume.mountpoint);
      let run;
      let meanwhile;
      try {
        run = await cli.runJob(`held-${kind}`, '--config', file);
        meanwhile = await storageState();
      } finally {
        // That it succeeds shows that nobody else has thawed it.
        await must('fsfreeze', '--unfreeze', volume.mountpoint);
      }
      expect(run.value).toMatchObject({
        exitCode: 20,
        error: {
          code: 'notFrozen',
          message: `${volume.mountpoint} is already frozen by someone else; it was left as it is`,
        },
        sources: [{ freezeMode: 'native', snapshot: null, attempts: 0 }],
        copies: [],
        warnings: [],
      });
      expect(meanwhile).toEqual(before);
      await expectGood(volume, cli, target);
    },
  );

  it('by `fsbackup freeze` is refused as what is locked', async () => {
    const { mountpoint } = volumes.classic;
    const file = await configure('locked', mountpoint);
    const frozen = await cli.run('freeze', mountpoint, '--timeout', '100s', '--max-hold', '100s');
    expect(frozen.exitCode, frozen.stderr).toBe(0);
    let run;
    try {
      run = await cli.runJob('locked', '--config', file);
      expect(await storageState()).toEqual(before);
    } finally {
      const thawed = await cli.run('thaw', mountpoint);
      expect(thawed.exitCode, thawed.stderr).toBe(0);
    }
    expect(run.value).toMatchObject({ exitCode: 11, error: { code: 'locked' }, copies: [] });
    await expectWhole(volumes.classic);
  });

  it.each(['classic', 'thin'] as const)(
    '%s: is refused too when it was frozen after the preflight',
    async (kind) => {
      const volume = volumes[kind];
      const { mountpoint } = volume;
      const holder = {
        name: 'holder',
        before: ['fsfreeze', '--freeze', mountpoint],
        after: ['fsfreeze', '--unfreeze', mountpoint],
      };
      const file = await configure(`late-${kind}`, mountpoint, [holder]);
      const { value } = await cli.runJob(`late-${kind}`, '--config', file);
      expect(value).toMatchObject({
        exitCode: 20,
        error: { code: 'notFrozen' },
        sources: [{ snapshot: null, attempts: 1 }],
        copies: [],
        warnings: [],
      });
      // Its holder's own thaw succeeded, and no command of LVM's was begun.
      expect(value.steps.map(({ step }) => step)).not.toContain('snapshot');
      await expectWhole(volume);
    },
  );
});

describeInLab(
  { kernel: 'leaks' },
  'an origin on LVM that another program snapshotted frozen',
  ({ disks }) => {
    it('is no source of a backup until it is mended as the hint says', async () => {
      const group = await LabVolumeGroup.make('lab-leaked', disks.slice(0, 1));
      try {
        const volume = await group.volume({ lv: 'srv', fstype: 'ext4', sizeMiB: 100 });
        const { mountpoint, device } = volume;
        const cli = new FsbackupCli(group.directory);
        const target = path.join(group.directory, 'target');
        await mkdir(target);
        const before = await storageState();
        await must('fsfreeze', '--freeze', mountpoint);
        await must('lvcreate', '--quiet', '--yes', '-s', '-L', '16m', '-n', 'foreign', 'lab-leaked/srv');
        await must('fsfreeze', '--unfreeze', mountpoint);
        await must('lvremove', '--quiet', '--yes', 'lab-leaked/foreign');

        const { value } = await cli.runJob('--job', 'leaked', '--source', mountpoint, '--to', target);
        expect(value).toMatchObject({
          exitCode: 30,
          error: { code: 'snapshotFailed', message: expect.stringContaining('was not taken frozen') },
          copies: [],
        });
        const listed = await cli.run('backups', 'list', 'leaked', '--from', target);
        expect(listed.stdout).not.toContain(value.runId);
        expect(await storageState()).toEqual(before);

        expect(value.error?.hint).toContain('lvchange -an lab-leaked/srv');
        await must('umount', mountpoint);
        await must('lvchange', '-an', 'lab-leaked/srv');
        await must('lvchange', '-ay', 'lab-leaked/srv');
        await must('mount', device, mountpoint);
        await expectGood(volume, cli, target);
      } finally {
        await group.dispose();
      }
    });
  },
);
