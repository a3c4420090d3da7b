import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createBorgEngine } from '../../src/copy/borg/borg-engine.js';
import { isRetryable } from '../../src/copy/copy-error.js';
import type { CopyEngine, CopyRequest } from '../../src/copy/engine.js';
import { createResticEngine } from '../../src/copy/restic/restic-engine.js';
import type { BackupTarget, RepositorySettings } from '../../src/backup-target.js';
import { describeNeeding } from '../support/capabilities.js';
import { compareTrees } from '../support/compare-trees.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { borgRepository, resticRepository } from '../support/repositories.js';
import { freePort, listening, SshServer } from '../support/ssh-server.js';
import { must } from '../support/throwaway-filesystem.js';

const LONG_MS = 400_000;

/** Processes whose arguments and environment hold all of these, one of the test's own paths among them. */
async function find(...words: string[]): Promise<number[]> {
  const found: number[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const texts = ['cmdline', 'environ'].map((name) =>
      readFile(`/proc/${pid}/${name}`, 'utf8').catch(() => ''),
    );
    const text = (await Promise.all(texts)).join('\0');
    if (words.every((word) => text.includes(word))) found.push(Number(pid));
  }
  return found;
}

const PROGRAMS = ['restic', 'borg', 'rclone', 'ssh-keygen'].map((name) => `program:${name}` as const);

describeNeeding(['root', ...PROGRAMS, 'program:sshd'], 'a repository that fails in mid-copy', () => {
  let directory: string;
  let source: string;
  let server: ChildProcess | undefined;
  let ssh: SshServer | undefined;
  let count = 0;

  beforeEach(async () => {
    directory = await mkdtemp(path.join(os.tmpdir(), 'repository-failures-'));
    source = path.join(directory, 'source');
    await mkdir(source);
    for (const name of ['a', 'b', 'c', 'd'])
      await must('dd', 'if=/dev/urandom', `of=${source}/${name}`, 'bs=1M', 'count=48', 'status=none');
  });
  afterEach(async () => {
    await ssh?.stop();
    ssh = undefined;
    if (server !== undefined && server.exitCode === null && server.signalCode === null) {
      server.kill('SIGKILL');
      await once(server, 'exit');
    }
    server = undefined;
    await rm(directory, { recursive: true, force: true });
  });

  function moved(target: BackupTarget, changes: Partial<RepositorySettings>): BackupTarget {
    const { repository } = target;
    if (repository === undefined) throw new Error('not a repository');
    const environment = { ...repository.environment, ...changes.environment };
    return { ...target, repository: { ...repository, ...changes, environment } };
  }

  async function request(more: Partial<CopyRequest> = {}): Promise<CopyRequest> {
    count += 1;
    const dataDirectory = path.join(directory, `data-${count}`);
    await mkdir(dataDirectory);
    return {
      backup: { job: 'failures', backupId: `20261123T184500Z-${String(count).padStart(6, '0')}` },
      sources: [{ path: '/srv', readFrom: source, exclude: [] }],
      dataDirectory,
      parentDataDirectory: undefined,
      signal: new AbortController().signal,
      onProgress: () => undefined,
      ...more,
    };
  }

  /** Copies, breaks the connection once some bytes have gone, and says what the copy rejected with. */
  async function broken(engine: CopyEngine, cut: () => Promise<void>): Promise<unknown> {
    let cutting: Promise<void> | undefined;
    const asked = await request({
      onProgress: ({ bytes }) => {
        if (bytes > 8 * 1024 ** 2) cutting ??= cut();
      },
    });
    const error: unknown = await engine.copy(asked).catch((thrown: unknown) => thrown);
    expect(cutting).toBeDefined();
    await cutting;
    // What is left of it goes, with nobody at the other end: it has left nothing there.
    await engine.remove?.(asked);
    return error;
  }

  /** The next backup is whole, and comes back. */
  async function expectWhole(engine: CopyEngine): Promise<void> {
    const asked = await request();
    expect((await engine.copy(asked)).unreadable).toEqual([]);
    const destination = path.join(directory, `out-${count}`);
    await mkdir(destination);
    await engine.restore({ ...asked, sources: ['/srv'], destination, paths: [] });
    expect(await compareTrees(source, path.join(destination, 'srv'))).toEqual([]);
  }

  async function serveRestic(port: number, repository: string): Promise<void> {
    const args = ['serve', 'restic', '--addr', `127.0.0.1:${port}`, repository];
    server = spawn('rclone', args, {
      stdio: 'ignore',
      env: { PATH: process.env['PATH'], HOME: directory },
    });
    await listening(port, server);
  }

  it(
    'restic: a REST server that dies is a lost connection, and once it is back all is well',
    async () => {
      const [port, stored] = [await freePort(), path.join(directory, 'stored')];
      const { target, run } = resticRepository(stored);
      await serveRestic(port, stored);
      const there = moved(target, { repository: `rest:http://127.0.0.1:${port}/` });
      const engine = createResticEngine(there, {
        run,
        treeDirectory: `${directory}/tree`,
        patienceMs: 4000,
      });
      await engine.openRepository?.({ initialise: true });
      const error = await broken(engine, async () => {
        server?.kill('SIGKILL');
      });
      expect(error).toMatchObject({ code: 'copyFailed', exitCode: 40 });
      expect(isRetryable(error)).toBe(true);
      await serveRestic(port, stored);
      await expectWhole(engine);
    },
    LONG_MS,
  );

  it(
    'borg: an ssh connection that ends is a lost connection, and the next backup is whole',
    async () => {
      ssh = await SshServer.start(path.join(directory, 'ssh'));
      const stored = path.join(directory, 'stored');
      const { target, run } = borgRepository(path.join(directory, 'key'));
      const there = moved(target, {
        repository: `ssh://root@127.0.0.1:${ssh.port}${stored}`,
        environment: { BORG_RSH: ssh.client },
      });
      const engine = createBorgEngine(there, { run, treeDirectory: `${directory}/tree` });
      await engine.openRepository?.({ initialise: true });
      const error = await broken(engine, async () => {
        for (const pid of await find('ssh', path.join(directory, 'ssh', 'client'), 'borg', 'serve'))
          process.kill(pid, 'SIGKILL');
      });
      expect(error).toMatchObject({ code: 'copyFailed', exitCode: 40 });
      expect(isRetryable(error)).toBe(true);
      await expectWhole(engine);
    },
    LONG_MS,
  );

  it(
    'restic: an sftp connection that ends is a lost connection, and the next backup is whole',
    async () => {
      ssh = await SshServer.start(path.join(directory, 'ssh'));
      const { target, run } = resticRepository(path.join(directory, 'stored'));
      const there = moved(target, {
        repository: `sftp:root@127.0.0.1:${path.join(directory, 'stored')}`,
        options: { 'sftp.command': `${ssh.client} -p ${ssh.port} root@127.0.0.1 -s sftp` },
      });
      const engine = createResticEngine(there, { run, treeDirectory: `${directory}/tree` });
      expect(await engine.openRepository?.({ initialise: true })).toMatch(/^[0-9a-f]{64}$/);
      const error = await broken(engine, async () => {
        // restic's own arguments name the client, too.
        for (const pid of await find('ssh', path.join(directory, 'ssh', 'client'), 'sftp'))
          if ((await readFile(`/proc/${pid}/comm`, 'utf8')).trim() === 'ssh') process.kill(pid, 'SIGKILL');
      });
      expect(error).toMatchObject({ code: 'copyFailed', exitCode: 40 });
      expect(isRetryable(error), String(error)).toBe(true);
      await expectWhole(engine);
    },
    LONG_MS,
  );

  it.each([
    ['restic', 'backup'],
    ['borg', 'create'],
  ])(
    '%s that is killed: exit 40, nothing listed as good, and the next run completes',
    async (name, command) => {
      const { target } = (name === 'restic' ? resticRepository : borgRepository)(
        path.join(directory, 'repository'),
      );
      const { repository } = target;
      const config = path.join(directory, 'config.yaml');
      const sources = [{ path: source, snapshot: 'none' }];
      const jobs = { srv: { sources, targets: [{ engine: name, ...repository }] } };
      await writeFile(config, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
      const cli = new FsbackupCli(directory);
      const started = cli.start('run', '--config', config, '--json');
      let victims: number[] = [];
      while (victims.length === 0 && !started.hasEnded) {
        await sleep(20);
        // The program itself, and not the shell that becomes it.
        victims = await find(`${name}\0`, `\0${command}\0`, directory).then(async (pids) => {
          const lines = await Promise.all(
            pids.map((pid) => readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')),
          );
          return pids.filter((_, index) => lines[index]?.trim() === name);
        });
      }
      for (const pid of victims) process.kill(pid, 'SIGKILL');
      expect(await started.ended(), started.output).toBe(40);
      const list = async (): Promise<string[]> => {
        const { stdout } = await cli.run('backups', 'list', '--config', config, '--json');
        return (JSON.parse(stdout) as { backups: { state: string }[] }).backups.map(({ state }) => state);
      };
      expect(await list()).toEqual([]);
      expect(await cli.journalEntries()).toEqual([]);
      expect((await cli.run('run', '--config', config)).exitCode).toBe(0);
      expect(await list()).toEqual(['complete']);
    },
    LONG_MS,
  );
});
