import { lstat, mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { isMountedAt, unmount } from '../../src/system/mount.js';
import { readMounts } from '../../src/system/mountinfo.js';
import { describeNeeding } from '../support/capabilities.js';
import { compareTrees } from '../support/compare-trees.js';
import { FsbackupCli, type StartedCli } from '../support/fsbackup-cli.js';
import { borgRepository, resticRepository } from '../support/repositories.js';
import { must } from '../support/throwaway-filesystem.js';

const LONG_MS = 240_000;
/** A bound against waiting for ever. */
const LIMIT_MS = 100_000;

describeNeeding(
  ['root', 'program:restic', 'program:borg', 'program:fusermount3', 'program:findmnt'],
  'a mounted backup of a repository',
  () => {
    let directory: string;
    let source: string;
    let mountpoint: string;
    let config: string;
    let cli: FsbackupCli;

    beforeEach(async () => {
      directory = await mkdtemp(path.join(os.tmpdir(), 'mount-repository-'));
      source = path.join(directory, 'source');
      mountpoint = path.join(directory, 'mnt');
      config = path.join(directory, 'config.yaml');
      cli = new FsbackupCli(directory);
      await mkdir(path.join(source, 'www'), { recursive: true });
      await writeFile(path.join(source, 'www', 'page'), 'page');
    });
    afterEach(async () => {
      await unmount(mountpoint);
      for (const { mountpoint: left } of await readMounts())
        if (left.startsWith(`${directory}/`)) await unmount(left);
      await rm(directory, { recursive: true, force: true });
    });

    async function backUp(engine: 'restic' | 'borg'): Promise<void> {
      const make = engine === 'restic' ? resticRepository : borgRepository;
      const { repository } = make(path.join(directory, 'repository')).target;
      const sources = [{ path: source, snapshot: 'none' }];
      const jobs = { srv: { sources, targets: [{ engine, ...repository }] } };
      await writeFile(config, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
      const run = await cli.run('run', '--config', config);
      expect([run.exitCode, run.stderr]).toEqual([0, expect.any(String)]);
    }

    async function until(what: () => Promise<boolean>, started?: StartedCli): Promise<void> {
      const deadline = Date.now() + LIMIT_MS;
      while (!(await what())) {
        if (started?.hasEnded === true) throw new Error(`it ended before: ${started.output}`);
        if (Date.now() > deadline) throw new Error(`waited in vain: ${started?.output ?? ''}`);
        await sleep(50);
      }
    }

    /** Mounts, and waits until it is shown. */
    async function mounted(): Promise<StartedCli> {
      const started = cli.start('backups', 'mount', 'srv', mountpoint, '--config', config);
      await until(async () => started.output.includes('is shown at'), started);
      return started;
    }

    /** What is mounted for it, its directory or where its program mounts. */
    async function mounts(): Promise<string[]> {
      return (await readMounts()).map((one) => one.mountpoint).filter((at) => at.startsWith(`${directory}/`));
    }

    async function expectNothingLeft(): Promise<void> {
      expect(await mounts()).toEqual([]);
      await expect(lstat(mountpoint)).rejects.toThrow('ENOENT');
      const run = cli.environment.FSBACKUP_RUN_DIR;
      expect(await readdir(path.join(run, 'served'))).toEqual([]);
      expect((await cli.run('status')).stdout).not.toContain(mountpoint);
    }

    it.each(['restic', 'borg'] as const)(
      '%s: is shown read-only, listed, and ended by umount, by Ctrl-C, by `backups umount`',
      async (engine) => {
        await backUp(engine);
        const first = await mounted();
        expect(await compareTrees(source, path.join(mountpoint, source), { ignoreRoot: true })).toEqual([]);
        await expect(writeFile(path.join(mountpoint, 'x'), 'x')).rejects.toThrow('EROFS');
        const options = await must('findmnt', '--noheadings', '--output', 'VFS-OPTIONS', mountpoint);
        expect(options.split(',')).toEqual(expect.arrayContaining(['ro', 'nosuid', 'nodev', 'noexec']));
        const list = await cli.run('backups', 'list', '--config', config, '--json');
        expect(JSON.parse(list.stdout)).toMatchObject({ backups: [{ mounted: [mountpoint] }] });
        const kept = await cli.recover();
        expect(kept.value).toMatchObject({ released: [], failed: [] });
        expect(await isMountedAt(mountpoint)).toBe(true);

        await must('umount', mountpoint);
        expect(await first.ended(), first.output).toBe(0);
        await expectNothingLeft();

        const second = await mounted();
        second.kill('SIGINT');
        expect(await second.ended(), second.output).toBe(130);
        await expectNothingLeft();

        const third = await mounted();
        const undone = await cli.run('backups', 'umount', mountpoint);
        expect([undone.exitCode, undone.stdout]).toEqual([0, expect.stringContaining('Unmounted srv@')]);
        expect(await third.ended(), third.output).toBe(0);
        await expectNothingLeft();
      },
      LONG_MS,
    );

    /** Its program serves on, and nobody would end it. */
    async function leaveBehind(): Promise<void> {
      const started = await mounted();
      started.kill('SIGKILL');
      await started.ended();
      expect(await readFile(path.join(mountpoint, source, 'www', 'page'), 'utf8')).toBe('page');
    }

    it(
      'restic: whose fsbackup was killed is undone by recover, and told as held while it is busy',
      async () => {
        await backUp('restic');
        await leaveBehind();
        const busy = await open(path.join(mountpoint, source, 'www', 'page'), 'r');
        try {
          const refused = await cli.recover();
          expect(refused.exitCode).toBe(60);
          expect(refused.value.failed).toMatchObject([
            { kind: 'served-mount', what: `mount ${mountpoint}`, job: 'srv' },
          ]);
        } finally {
          await busy.close();
        }
        const { exitCode, value } = await cli.recover();
        expect([exitCode, value.failed]).toEqual([0, []]);
        expect(value.released).toMatchObject([{ kind: 'served-mount', what: `mount ${mountpoint}` }]);
        await expectNothingLeft();
      },
      LONG_MS,
    );

    it(
      'borg: whose fsbackup was killed is undone by `backups umount`',
      async () => {
        await backUp('borg');
        await leaveBehind();
        expect((await cli.run('backups', 'umount', mountpoint)).exitCode).toBe(0);
        await expectNothingLeft();
      },
      LONG_MS,
    );

    it(
      'restic: a program that dies is told, and a machine without FUSE, and nothing is left',
      async () => {
        await backUp('restic');
        const started = await mounted();
        for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
          const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
          if (line.startsWith('restic\0') && line.includes(directory)) process.kill(Number(pid), 'SIGKILL');
        }
        expect(await started.ended(), started.output).toBe(1);
        expect(started.output).toContain('the mount broke off');
        await expectNothingLeft();

        const dev = path.join(directory, 'dev');
        await mkdir(dev);
        const hide = `
          mount -t tmpfs none ${dev}
          for name in null zero random urandom; do
            touch ${dev}/$name
            mount --bind /dev/$name ${dev}/$name
          done
          # What the tests keep may lie there.
          mkdir ${dev}/shm
          mount --rbind /dev/shm ${dev}/shm
          mount --rbind ${dev} /dev
          exec "$@"`;
        const hidden = ['unshare', '--mount', 'sh', '-ec', hide, 'sh'];
        const run = await cli.runUnder(hidden, 'backups', 'mount', 'srv', mountpoint, '--config', config);
        expect([run.exitCode, run.stderr]).toEqual([
          2,
          expect.stringContaining('this machine has no FUSE (no /dev/fuse)'),
        ]);
        await expect(lstat(mountpoint)).rejects.toThrow('ENOENT');
      },
      LONG_MS,
    );
  },
);
