import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { isRetryable } from '../../src/copy/copy-error.js';
import { createRsyncRemoteEngine } from '../../src/copy/rsync-remote/rsync-remote-engine.js';
import { runCommand, type CommandResult } from '../../src/system/run-command.js';
import { describeNeeding } from '../support/capabilities.js';
import { compareTrees } from '../support/compare-trees.js';
import { copyRequest } from '../support/engine-requests.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { sshTarget } from '../support/repositories.js';
import { SshServer } from '../support/ssh-server.js';
import { must } from '../support/throwaway-filesystem.js';

const LONG_MS = 300_000;

interface Listed {
  backupId: string;
  state: string;
  engine: string;
  sources: string[];
  consistency: string;
  files: number | null;
  bytes: number | null;
  unreadable: number;
}

describeNeeding(
  ['root', 'program:rsync', 'program:ssh', 'program:sshd', 'program:unshare'],
  'backups by rsync on another host, for a host that did not make them',
  () => {
    let keys: string;
    let ssh: SshServer;
    let directory: string;
    let source: string;
    let remote: string;
    let config: string;
    let maker: FsbackupCli;

    beforeAll(async () => {
      keys = await mkdtemp(path.join(os.tmpdir(), 'rsync-found-keys-'));
      ssh = await SshServer.start(keys);
      await writeFile(path.join(keys, 'ssh_config'), ssh.config('127.0.0.1'));
    });
    afterAll(async () => {
      await ssh.stop();
      await rm(keys, { recursive: true, force: true });
    });
    beforeEach(async () => {
      directory = await mkdtemp(path.join(os.tmpdir(), 'rsync-found-'));
      source = path.join(directory, 'a "source" ü', 'srv');
      remote = path.join(directory, 'a remote $HOME');
      config = path.join(directory, 'config.yaml');
      await mkdir(path.join(source, 'www'), { recursive: true });
      await writeFile(path.join(source, 'www', 'page'), 'page');
      await writeFile(path.join(source, 'www', 'other'), 'other');
      maker = host('maker');
      await configure();
    });
    afterEach(async () => {
      await rm(directory, { recursive: true, force: true });
    });

    function host(name: string): FsbackupCli {
      return new FsbackupCli(path.join(directory, name));
    }

    function address(): string {
      return `ssh://root@127.0.0.1:${ssh.port}${remote}`;
    }

    async function configure(ofJob: object = {}): Promise<void> {
      const target = { repository: address(), initialise: true, environment: { RSYNC_RSH: ssh.client } };
      const sources = [{ path: source, snapshot: 'none' }];
      const jobs = { srv: { sources, targets: [target], attempts: 1, ...ofJob } };
      await writeFile(config, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
    }

    /** Another host, which has no more than a key that gets it in: not this configuration. */
    async function elsewhere(cli: FsbackupCli, ...args: string[]): Promise<CommandResult> {
      const own = 'mount --bind "$1" /etc/ssh/ssh_config; shift; exec "$@"';
      const wrapper = ['unshare', '--mount', 'sh', '-ec', own, 'sh', path.join(keys, 'ssh_config')];
      return await cli.runUnder(wrapper, ...args, '--from', address());
    }

    /** A host of that name makes a backup; its id. */
    async function madeBy(cli: FsbackupCli, name = 'old-host'): Promise<string> {
      const own = 'hostname "$1"; shift; exec "$@"';
      const wrapper = ['unshare', '--uts', 'sh', '-ec', own, 'sh', name];
      const { stdout, stderr, exitCode } = await cli.runUnder(wrapper, 'run', '--config', config, '--json');
      expect([exitCode, stderr]).toEqual([0, expect.any(String)]);
      return (JSON.parse(stdout) as { runId: string }).runId;
    }

    async function listed(cli: FsbackupCli): Promise<Listed[]> {
      const { stdout, stderr } = await elsewhere(cli, 'backups', 'list', '--json');
      if (stdout === '') throw new Error(stderr);
      return (JSON.parse(stdout) as { backups: Listed[] }).backups;
    }

    async function shown(cli: FsbackupCli, id: string): Promise<string> {
      const { stdout, stderr } = await elsewhere(cli, 'backups', 'show', `srv@${id}`);
      return `${stdout}${stderr}`.replaceAll(/\s+/g, ' ');
    }

    function at(...names: string[]): string {
      return path.join(remote, 'srv', ...names);
    }

    async function restored(cli: FsbackupCli, id: string, ...paths: string[]): Promise<string> {
      const out = await mkdtemp(path.join(directory, 'out-'));
      await chmod(out, 0o750);
      const { exitCode, stderr } = await elsewhere(cli, 'restore', `srv@${id}`, '--to', out, ...paths);
      expect([exitCode, stderr]).toEqual([0, expect.any(String)]);
      // It is nobody's root: neither is the directory that the tree lies in.
      expect((await stat(out)).mode & 0o777).toBe(0o750);
      return path.join(out, source);
    }

    it(
      'are listed, shown, verified with their digests, and restored, patterns too',
      async () => {
        const id = await madeBy(maker);
        expect((await readdir(at())).toSorted()).toEqual([id, `${id}.digests.gz`, `${id}.json`]);
        for (const name of [`${id}.digests.gz`, `${id}.json`])
          expect((await stat(at(name))).mode & 0o777).toBe(0o600);

        const other = host('other');
        expect(await listed(other)).toEqual([
          expect.objectContaining({
            backupId: id,
            state: 'complete',
            engine: 'rsync',
            sources: [source],
            consistency: 'none',
            files: 2,
            bytes: 9,
            unreadable: 0,
          }),
        ]);
        const show = await shown(other, id);
        expect(show).toContain('made on old-host');
        expect(show).toContain('what the run on old-host told');
        const verify = await elsewhere(other, 'backups', 'verify', 'srv', '--full');
        expect([verify.exitCode, verify.stderr]).toEqual([0, expect.any(String)]);
        expect(await compareTrees(source, await restored(other, id))).toEqual([]);
        const page = await restored(other, id, `${source}/w*/p*`);
        expect(await readdir(path.join(page, 'www'))).toEqual(['page']);

        await writeFile(at(id, source, 'www', 'page'), 'pagE');
        const damaged = await elsewhere(host('third'), 'backups', 'verify', 'srv', '--full');
        expect(damaged.exitCode).toBe(50);
        expect(damaged.stdout + damaged.stderr).toContain(path.join(source, 'www', 'page'));
      },
      LONG_MS,
    );

    it(
      'are listed and restored without a note, or with one that is none',
      async () => {
        const id = await madeBy(maker);
        await must('rm', at(`${id}.json`), at(`${id}.digests.gz`));
        const other = host('other');
        const [, top = ''] = directory.split('/');
        expect(await listed(other)).toMatchObject([
          {
            backupId: id,
            state: 'complete',
            sources: [`/${top}`],
            consistency: 'none',
            files: null,
            bytes: null,
          },
        ]);
        const show = await shown(other, id);
        expect(show).toContain('made on not known');
        expect(show).toContain('no note lies beside it');
        expect(await compareTrees(source, await restored(other, id))).toEqual([]);
        expect((await elsewhere(other, 'backups', 'verify', 'srv', '--quick')).exitCode).toBe(0);

        await writeFile(at(`${id}.json`), '{ "version": 1, "job": "srv"');
        expect(await shown(host('third'), id)).toContain('the note beside it cannot be used: it is no JSON');
        await truncate(at(`${id}.json`), 2 ** 32);
        const fourth = host('fourth');
        expect(await shown(fourth, id)).toContain('it is too large to be one');
        expect(await listed(fourth)).toMatchObject([{ backupId: id, sources: [`/${top}`] }]);
      },
      LONG_MS,
    );

    it(
      'are gone on from by content, and go with their notes where they were made, and nowhere else',
      async () => {
        await configure({ keep: { last: 1 } });
        const page = path.join(source, 'www', 'page');
        const other = path.join(source, 'www', 'other');
        const first = await madeBy(maker);
        // As long and as old as before.
        await writeFile(other, 'OTHER');
        await must('touch', '--reference', at(first, other), other);
        const after = host('after');
        const second = await madeBy(after, 'new-host');
        const inode = async (id: string, file: string): Promise<number> => (await stat(at(id, file))).ino;
        expect(await inode(second, page)).toBe(await inode(first, page));
        expect(await inode(second, other)).not.toBe(await inode(first, other));
        expect(await readFile(at(second, other), 'utf8')).toBe('OTHER');
        // Also of what is shared the content is known.
        expect((await elsewhere(after, 'backups', 'verify', `srv@${second}`, '--full')).exitCode).toBe(0);

        expect((await after.run('backups', 'prune', '--config', config)).exitCode).toBe(0);
        const files = (id: string): string[] => [id, `${id}.digests.gz`, `${id}.json`];
        expect((await readdir(at())).toSorted()).toEqual([...files(first), ...files(second)].toSorted());
        const third = await madeBy(maker);
        expect((await readdir(at())).toSorted()).toEqual([...files(second), ...files(third)].toSorted());
        const { stdout } = await after.run('backups', 'list', '--config', config, '--json');
        const { backups } = JSON.parse(stdout) as { backups: Listed[] };
        expect(backups.map(({ backupId }) => backupId).toSorted()).toEqual([second, third].toSorted());
      },
      LONG_MS,
    );

    it(
      'whose list of digests is another, or gone, do not verify; and a place that is none has no backups',
      async () => {
        const id = await madeBy(maker);
        await must('cp', at(`${id}.json`), at(`${id}.digests.gz`));
        const other = host('other');
        const verify = async (): Promise<CommandResult> =>
          await elsewhere(other, 'backups', 'verify', `srv@${id}`, '--full');
        const another = await verify();
        expect([another.exitCode, another.stdout + another.stderr]).toEqual([
          50,
          expect.stringContaining('is not the one that the manifest was written with'),
        ]);
        await must('rm', at(`${id}.digests.gz`));
        const gone = await verify();
        expect([gone.exitCode, gone.stdout + gone.stderr]).toEqual([
          50,
          expect.stringContaining('the list of its digests is not there any more'),
        ]);

        await must('rm', path.join(remote, '.fsbackup-repository'));
        const none = await elsewhere(host('third'), 'backups', 'list');
        expect([none.exitCode, none.stderr.replaceAll(/\s+/g, ' ')]).toEqual([
          2,
          expect.stringContaining('is not a place for backups'),
        ]);
      },
      LONG_MS,
    );

    it.each(['before it got there', 'after it was done'])(
      'know their digests when the connection is lost as one is to get its name, %s, and it is tried again',
      async (when) => {
        let publishings = 0;
        const run: typeof runCommand = async (argv, options) => {
          const isPublishing = argv.at(-1)?.includes('is there already') === true;
          if (isPublishing) publishings += 1;
          const isLost = isPublishing && publishings === 1;
          const result = isLost && when.startsWith('before') ? undefined : await runCommand(argv, options);
          if (result !== undefined && !isLost) return result;
          const lost = { exitCode: 255, signal: undefined, notFound: false, timedOut: false, aborted: false };
          return { ...lost, stdout: '', stderr: 'Connection closed' };
        };
        const engine = createRsyncRemoteEngine(sshTarget(ssh, remote), run);
        await engine.openRepository?.({ initialise: true });
        const data = path.join(directory, 'data');
        await mkdir(data);
        const list = path.join(directory, 'digests.gz');
        const request = copyRequest([{ path: source, readFrom: source, exclude: [] }], data, {
          consistency: 'application',
          digests: { file: list, parent: undefined },
        });
        await expect(engine.copy(request)).rejects.toSatisfy(isRetryable);
        const { digests } = await engine.copy(request);
        expect(digests).toMatchObject({ unknown: 0 });
        expect(publishings).toBe(2);
        expect(await readdir(directory)).not.toContain('digests.gz.raw');

        const found = (await engine.find?.(request.signal)) ?? [];
        const { job, backupId } = request.backup;
        expect(found).toMatchObject([
          {
            job,
            backupId,
            host: os.hostname(),
            consistency: 'application',
            sources: [source],
            files: 2,
            digests,
          },
        ]);
        expect((await readdir(path.join(remote, job))).toSorted()).toEqual([
          backupId,
          `${backupId}.digests.gz`,
          `${backupId}.json`,
        ]);
        await found[0]?.writeReference(data);
        const fetched = path.join(directory, 'fetched.gz');
        expect(
          await engine.fetchDigests?.({ dataDirectory: data, file: fetched, signal: request.signal }),
        ).toBe(true);
        expect(await readFile(fetched)).toEqual(await readFile(list));
      },
      LONG_MS,
    );
  },
);
