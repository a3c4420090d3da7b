import { mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeNeeding } from '../support/capabilities.js';
import { writeRandom } from '../support/engine-requests.js';
import { FsbackupCli, type StartedCli } from '../support/fsbackup-cli.js';
import {
  borgRepository,
  commandTarget,
  REPOSITORY_PASSWORD,
  resticRepository,
  secretFile,
  sshTarget,
  tarCommandTarget,
} from '../support/repositories.js';
import { SshServer } from '../support/ssh-server.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

/** Bounds against hanging for ever. */
const LIMIT_MS = 100_000;
const LONG_MS = 400_000;

const PROGRAMS = [
  'rsync',
  'tar',
  'zstd',
  'restic',
  'borg',
  'btrfs',
  'xfs_io',
  'ssh',
  'sshd',
  'ssh-keygen',
] as const;
const FAILED = { exitCode: 40, isCopyFailure: true, good: [] };
const COMPLETED = { exitCode: 0, states: ['complete'], held: [] };

const DISKS = ['root', 'loop', 'ext4', 'xfs', 'btrfs'] as const;

/**
 * What the engines have in common when their target fails in mid-copy, beside what `failing-targets`, `run-interrupted`,
 * `rsync-remote`, `target-commands` and `repository-failures` show of single ones.
 */
describeNeeding(
  [...DISKS, ...PROGRAMS.map((name) => `program:${name}` as const)],
  'a run whose target fails in mid-copy',
  () => {
    const disks = throwawayDisks(afterAll);
    let ssh: SshServer;
    let small: ThrowawayFilesystem;
    let pulled: ThrowawayFilesystem;
    const sources: Record<'files' | 'btrfs' | 'image', object> = { files: {}, btrfs: {}, image: {} };
    let count = 0;

    beforeAll(async () => {
      ssh = await SshServer.start(path.join(disks.directory, 'ssh'));
      small = await disks.filesystem({ fstype: 'ext4', sizeMiB: 128, name: 'small' });
      pulled = await disks.filesystem({ fstype: 'xfs', name: 'pulled' });
      const files = path.join(disks.directory, 'source');
      await mkdir(files);
      const btrfs = await disks.filesystem({ fstype: 'btrfs', name: 'btrfs-origin' });
      const on = await disks.filesystem({ fstype: 'xfs', name: 'outer' });
      const image = await disks.filesystem({ fstype: 'ext4', sizeMiB: 128, on, name: 'image-origin' });
      for (const directory of [files, btrfs.mountpoint, image.mountpoint])
        await writeRandom(path.join(directory, 'large'), 48);
      sources.files = { path: files, snapshot: 'none' };
      sources.btrfs = { path: btrfs.mountpoint };
      sources.image = { path: image.mountpoint };
    }, LONG_MS);
    afterAll(() => ssh.stop());

    interface Place {
      /** On the filesystem that is to fail. */
      directory: string;
      /** It lies elsewhere. */
      password: { file: string };
    }

    /** The targets, by what they are called here. Each is in a directory of its own. */
    const TARGETS = {
      tar: ({ directory }: Place) => ({ engine: 'tar', path: directory }),
      'tar to a command': ({ directory }: Place, write?: string) => {
        const commands = write === undefined ? {} : { write: ['sh', '-ec', write, 'sh', directory] };
        return { engine: 'tar', ...tarCommandTarget(directory, commands).repository };
      },
      command: ({ directory }: Place) => ({ engine: 'command', ...commandTarget(directory).repository }),
      restic: ({ directory, password }: Place) => ({
        engine: 'restic',
        ...resticRepository(path.join(directory, 'stored')).target.repository,
        password,
      }),
      borg: ({ directory, password }: Place) => ({
        engine: 'borg',
        ...borgRepository(path.join(directory, 'stored')).target.repository,
        password,
      }),
      'rsync over ssh': ({ directory }: Place) => ({
        engine: 'rsync',
        ...sshTarget(ssh, directory).repository,
      }),
      'restic over sftp': ({ directory }: Place) => {
        const stored = path.join(directory, 'stored');
        return {
          engine: 'restic',
          ...resticRepository(stored).target.repository,
          repository: `sftp:root@127.0.0.1:${stored}`,
          options: { 'sftp.command': `${ssh.client} -p ${ssh.port} root@127.0.0.1 -s sftp` },
        };
      },
      'borg over ssh': ({ directory }: Place) => {
        const stored = path.join(directory, 'stored');
        const { repository } = borgRepository(stored).target;
        return {
          engine: 'borg',
          ...repository,
          repository: `ssh://root@127.0.0.1:${ssh.port}${stored}`,
          environment: { ...repository?.environment, BORG_RSH: ssh.client },
        };
      },
      'btrfs-send': ({ directory }: Place) => ({ engine: 'btrfs-send', path: directory }),
      image: ({ directory }: Place) => ({ engine: 'image', path: directory }),
    } as const;
    type Kind = keyof typeof TARGETS;

    /** The job of a target in a new directory on this filesystem, and what is done with it. */
    async function jobOf(kind: Kind, on: string, make: (place: Place) => object = TARGETS[kind]) {
      count += 1;
      const name = `job-${count}`;
      const directory = path.join(on, name);
      // Its state is its own: what is left of one that fails is no matter of the next.
      const cli = new FsbackupCli(path.join(disks.directory, `${name}-state`));
      await mkdir(directory, { mode: 0o700 });
      const config = path.join(disks.directory, `${name}.yaml`);
      const password = {
        file: secretFile(path.join(disks.directory, `${name}-key`, 'key'), REPOSITORY_PASSWORD),
      };
      const source = sources[kind === 'image' ? 'image' : kind === 'btrfs-send' ? 'btrfs' : 'files'];
      const jobs = { [name]: { sources: [source], targets: [make({ directory, password })], attempts: 1 } };
      await writeFile(config, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
      return { directory, config, cli };
    }
    type Job = Awaited<ReturnType<typeof jobOf>>;

    async function start({ cli, config }: Job): Promise<StartedCli> {
      const started = cli.start('run', '--config', config, '--json');
      await cli.journalled('backup', started);
      return started;
    }

    async function states({ cli, config }: Job): Promise<string[]> {
      const { stdout } = await cli.run('backups', 'list', '--config', config, '--json');
      return (JSON.parse(stdout) as { backups: { state: string }[] }).backups.map(({ state }) => state);
    }

    /** How a run ended, and what is then called good. */
    async function ended(job: Job, started: StartedCli): Promise<object> {
      const exitCode = await started.ended();
      const isCopyFailure = started.output.includes('"code": "copyFailed"');
      return { exitCode, isCopyFailure, good: (await states(job)).filter((state) => state !== 'incomplete') };
    }

    /** How the next run ends, and what there is then. */
    async function next(job: Job): Promise<object> {
      const { exitCode } = await job.cli.run('run', '--config', job.config);
      const result = { exitCode, states: await states(job), held: await job.cli.journalEntries() };
      await rm(job.directory, { recursive: true });
      return result;
    }

    async function until<T>(find: () => Promise<T | undefined>, started: StartedCli): Promise<T> {
      const deadline = Date.now() + LIMIT_MS;
      for (;;) {
        const found = await find();
        if (found !== undefined) return found;
        if (started.hasEnded || Date.now() > deadline)
          throw new Error(`it has not come to it: ${started.output}`);
        await sleep(5);
      }
    }

    it.each(['tar', 'tar to a command', 'command', 'restic', 'borg'] as const)(
      '%s: for want of room',
      async (kind) => {
        const filler = path.join(small.mountpoint, 'filler');
        await must('fallocate', '--length=90M', filler);
        const job = await jobOf(kind, small.mountpoint);
        const started = await start(job);
        expect(await ended(job, started), started.output).toEqual(FAILED);
        expect(started.output).toMatch(/no space left|out of space/i);
        await rm(filler);
        expect(await next(job)).toEqual(COMPLETED);
      },
      LONG_MS,
    );

    /** From then on the disk answers EIO, as one that was pulled out. */
    async function pull(): Promise<void> {
      await must('xfs_io', '-x', '-c', 'shutdown -f', pulled.mountpoint);
    }

    async function putBack(): Promise<void> {
      await must('umount', pulled.mountpoint);
      await must('mount', pulled.device, pulled.mountpoint);
    }

    it.each(['command', 'restic', 'borg', 'rsync over ssh'] as const)(
      '%s: since its disk is pulled out',
      async (kind) => {
        const job = await jobOf(kind, pulled.mountpoint);
        await must('sync', '--file-system', pulled.mountpoint);
        const started = await start(job);
        await pull();
        await started.ended();
        await putBack();
        expect(await ended(job, started), started.output).toEqual(FAILED);
        expect(await next(job)).toEqual(COMPLETED);
      },
      LONG_MS,
    );

    it(
      'tar to a command: since the disk is pulled out that it writes to',
      async () => {
        const script = `f=$1/x.tar.zst; head -c 1000000 >"$f"; if ! [ -e "$f.again" ]; then
        touch "$f.again"; sync; xfs_io -x -c 'shutdown -f' ${pulled.mountpoint}; fi; cat >>"$f"`;
        const job = await jobOf('tar to a command', pulled.mountpoint, (place) =>
          TARGETS['tar to a command'](place, script),
        );
        const started = await start(job);
        await started.ended();
        await putBack();
        expect(await ended(job, started), started.output).toEqual(FAILED);
        expect(await next(job)).toEqual(COMPLETED);
      },
      LONG_MS,
    );

    it.each([
      ['tar', 'tar'],
      ['tar', 'zstd'],
      ['tar to a command', 'tar'],
      ['tar to a command', 'sh'],
      ['command', 'bash'],
      ['btrfs-send', 'btrfs'],
      ['btrfs-send', 'zstd'],
      ['image', 'zstd'],
    ] as const)(
      '%s: since its %s is killed',
      async (kind, program) => {
        const job = await jobOf(kind, disks.directory);
        const started = await start(job);
        await started.stopChild(program, 'SIGKILL');
        expect(await ended(job, started), started.output).toEqual(FAILED);
        expect(await next(job)).toEqual(COMPLETED);
      },
      LONG_MS,
    );

    it.each(['restic over sftp', 'borg over ssh'] as const)(
      '%s: since its connection is lost',
      async (kind) => {
        const job = await jobOf(kind, disks.directory);
        const started = await start(job);
        await until(async () => {
          const stored = path.join(job.directory, 'stored', 'data');
          const files = await readdir(stored, { recursive: true }).catch(() => []);
          for (const file of files) {
            const found = await stat(path.join(stored, file)).catch(() => undefined);
            if (found?.isFile() === true && found.size > 1_000_000) return true;
          }
          return undefined;
        }, started);
        ssh.dropConnections();
        expect(await ended(job, started), started.output).toEqual(FAILED);
        expect(await next(job)).toEqual(COMPLETED);
      },
      LONG_MS,
    );
  },
);
