import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { parseHeldRoot, poolDevice } from '../../src/system/thin-pool.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { describeInLab } from '../support/lab.js';
import { LabVolumeGroup, type LabVolume } from '../support/lvm-lab.js';
import { must } from '../support/throwaway-filesystem.js';

/** Before those of the distribution in the PATH of what fsbackup starts. */
const wrapperOf = (program: string): string => path.join('/usr/local/sbin', program);

/** When fsbackup is killed: by the program that it runs then, which is its child. */
const MOMENTS = [
  {
    what: 'as soon as the pool keeps them',
    program: 'dmsetup',
    script:
      '/usr/sbin/dmsetup "$@"; s=$?; case "$*" in *reserve_metadata_snap*) kill -9 $PPID ;; esac; exit $s',
    isKept: true,
  },
  { what: 'while they are read', program: 'thin_delta', script: 'kill -9 $PPID', isKept: true },
  {
    what: 'before they are released',
    program: 'dmsetup',
    script: 'case "$*" in *release_metadata_snap*) kill -9 $PPID ;; *) exec /usr/sbin/dmsetup "$@" ;; esac',
    isKept: true,
  },
  {
    what: 'once they are released',
    program: 'dmsetup',
    script:
      '/usr/sbin/dmsetup "$@"; s=$?; case "$*" in *release_metadata_snap*) kill -9 $PPID ;; esac; exit $s',
    isKept: false,
  },
] as const;

describeInLab(
  { once: 'nests' },
  'a run that is killed while a thin pool keeps its metadata for it',
  ({ disks }) => {
    let group: LabVolumeGroup;
    let thin: LabVolume;
    let cli: FsbackupCli;
    let run: string[];

    beforeAll(async () => {
      group = await LabVolumeGroup.make('lab-killed', disks.slice(0, 1));
      await group.pool('pool', 200);
      thin = await group.volume({ lv: 'thin', fstype: 'ext4', sizeMiB: 48, pool: 'pool' });
      const target = await group.volume({ lv: 'backups', fstype: 'ext4', sizeMiB: 64 });
      const directory = path.join(group.directory, 'fsbackup');
      await mkdir(directory);
      cli = new FsbackupCli(directory);
      run = ['--job', 'srv', '--engine', 'image', '--source', thin.mountpoint, '--to', target.mountpoint];
    });

    afterEach(async () => {
      for (const { program } of MOMENTS) await rm(wrapperOf(program), { force: true });
    });

    afterAll(async () => {
      await group.dispose();
    });

    /** The block of the metadata that the pool keeps; undefined for none. */
    async function kept(): Promise<string | undefined> {
      return parseHeldRoot(await must('dmsetup', 'status', poolDevice(group.vg, 'pool')));
    }

    const names = async (): Promise<string[]> => (await group.volumes()).map(({ lv }) => lv).toSorted();

    it('leaves them to `recover`, which has the pool let go of them, and its base to the next run', async () => {
      const first = await cli.runJob(...run);
      expect(first.exitCode, first.stderr).toBe(0);
      const before = await names();
      for (const { what, program, script, isKept } of MOMENTS) {
        await writeFile(path.join(thin.mountpoint, 'file'), what);
        await writeFile(wrapperOf(program), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
        const killed = await cli.run('run', ...run);
        await rm(wrapperOf(program));
        expect([what, killed.exitCode, (await kept()) !== undefined]).toEqual([what, undefined, isKept]);
        const recovered = await cli.recover();
        expect([what, recovered.exitCode, recovered.value.failed]).toEqual([what, 0, []]);
        expect([what, await kept(), await names(), await cli.journalEntries()]).toEqual([
          what,
          undefined,
          before,
          [],
        ]);
      }
      const next = await cli.runJob(...run);
      expect(next.exitCode, next.stderr).toBe(0);
      expect(next.value.copies[0]?.bytes).toBeLessThan((first.value.copies[0]?.bytes ?? 0) / 4);
    });
  },
);
