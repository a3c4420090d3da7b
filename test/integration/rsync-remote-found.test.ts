import { access, mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import type { CommandResult } from '../../src/system/run-command.js';
import { describeNeeding } from '../support/capabilities.js';
import { compareTrees } from '../support/compare-trees.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { SshServer } from '../support/ssh-server.js';

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
      const { exitCode, stderr } = await elsewhere(cli, 'restore', `srv@${id}`, '--to', out, ...paths);
      expect([exitCode, stderr]).toEqual([0, expect.any(String)]);
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
  },
);
