import { spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { runCommand } from '../../src/system/run-command.js';
import { compareTrees } from '../support/compare-trees.js';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { makeQuickResticRepository } from '../support/quick-restic-repository.js';
import { secretFile } from '../support/repositories.js';
import { textBelow, watchArguments } from '../support/secret-watch.js';

const SECRET = 'correct-horse-battery';
/** Several starts of restic, each of which derives a key for a second. */
const LONG_MS = 240_000;

interface Listed {
  backups: { target: string; job: string; backupId: string; state: string; engine: string }[];
}

const NEEDS = ['root', 'program:restic', 'program:rclone', 'program:strace'] as const;

describeNeeding(NEEDS, 'a restic repository as a target', () => {
  let directory: string;
  let source: string;
  let repository: string;
  let config: string;
  let key: string;
  let cli: FsbackupCli;
  /** The text of all that was printed. */
  let printed: string;

  beforeEach(async () => {
    directory = await mkdtemp(path.join(os.tmpdir(), 'restic-target-'));
    source = path.join(directory, 'source');
    repository = path.join(directory, 'repository');
    config = path.join(directory, 'config.yaml');
    key = secretFile(path.join(directory, 'keys', 'restic'), SECRET);
    printed = '';
    await mkdir(path.join(source, 'www'), { recursive: true });
    await writeFile(path.join(source, 'www', 'page'), 'page');
    await writeFile(path.join(source, 'large'), Buffer.alloc(3 * 1024 ** 2, 'x'));
    cli = new FsbackupCli(directory);
  });
  afterEach(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  async function configure(targets: unknown[], more: object = {}): Promise<void> {
    const sources = [{ path: source, snapshot: 'none', exclude: ['*.tmp'] }];
    await writeFile(config, JSON.stringify({ version: 1, jobs: { srv: { sources, targets, ...more } } }), {
      mode: 0o600,
    });
  }

  function restic(more: object = {}): object {
    const environment = { RESTIC_CACHE_DIR: path.join(directory, 'cache') };
    return {
      engine: 'restic',
      repository,
      initialise: true,
      password: { file: key },
      environment,
      ...more,
    };
  }

  async function fsbackup(...args: string[]): ReturnType<FsbackupCli['run']> {
    const result = await cli.run(...args);
    printed += result.stdout + result.stderr;
    return result;
  }

  async function listed(...args: string[]): Promise<Listed['backups']> {
    const { stdout } = await fsbackup('backups', 'list', ...args, '--json');
    return (JSON.parse(stdout) as Listed).backups;
  }

  it(
    'warns of symlinks that such a restic changes, and a restore and a drill name them',
    async () => {
      makeQuickResticRepository(repository, SECRET);
      await configure([restic()]);
      const link = path.join(source, 'link');
      const target = Buffer.from('caf\u{e9}', 'latin1');
      await symlink(target, link);
      const { stdout } = await runCommand(['restic', 'version']);
      const isOld = /^restic 0\.1[45]\./.test(stdout);
      const run = await fsbackup('run', '--config', config, '--json');
      const { warnings } = JSON.parse(run.stdout) as { warnings: string[] };
      const told = warnings.filter((warning) => warning.includes(`a symlink (${link}) has a target`));
      expect(told).toHaveLength(isOld ? 1 : 0);
      const restored = await fsbackup(
        'restore',
        'srv',
        '--config',
        config,
        '--to',
        path.join(directory, 'out'),
      );
      expect(restored.exitCode).toBe(isOld ? 41 : 0);
      expect(restored.stdout.includes(link)).toBe(isOld);
      const now = await readlink(path.join(directory, 'out', link), 'buffer');
      expect(now.equals(target)).toBe(!isOld);
      const drill = await fsbackup('backups', 'verify', 'srv', '--drill', '--config', config);
      expect(drill.exitCode === 50).toBe(isOld);
    },
    LONG_MS,
  );

  it(
    'is backed up to beside a directory, listed, shown, verified, restored and pruned with the same words',
    async () => {
      const plain = path.join(directory, 'plain');
      await mkdir(plain);
      makeQuickResticRepository(repository, SECRET);
      await configure([{ path: plain }, restic()], { keep: { last: 1 } });
      await writeFile(path.join(source, 'left-out.tmp'), 'x');
      for (let count = 0; count < 2; count += 1) {
        const run = await fsbackup('run', '--config', config, '--json');
        expect(JSON.parse(run.stdout)).toMatchObject({
          copies: [
            { target: plain, engine: 'rsync' },
            { target: repository, engine: 'restic', files: 2, bytes: 3 * 1024 ** 2 + 4 },
          ],
        });
      }
      await rm(path.join(source, 'left-out.tmp'));
      const backups = await listed('--config', config);
      expect(backups.map(({ target, engine }) => ({ target, engine }))).toEqual([
        { target: plain, engine: 'rsync' },
        { target: repository, engine: 'restic' },
      ]);
      const env = { RESTIC_REPOSITORY: repository, RESTIC_PASSWORD: SECRET };
      const snapshots = await runCommand(['restic', '--no-cache', 'snapshots', '--json'], { env });
      expect(JSON.parse(snapshots.stdout)).toMatchObject([
        {
          hostname: os.hostname(),
          tags: [
            'fsbackup',
            'fsbackup-job:srv',
            `fsbackup-run:${backups[1]?.backupId}`,
            'fsbackup-consistency:none',
          ],
        },
      ]);
      // Both targets have it: the first one's is shown, the other's when it is named.
      expect((await fsbackup('backups', 'show', 'srv', '--config', config)).stdout).toContain(
        `${plain}/srv/`,
      );

      // Without the configuration: the catalogue knows its repository, the flags name it anew.
      const from = ['--from', repository, '--engine', 'restic', '--password-file', key];
      expect((await fsbackup('backups', 'show', 'srv', ...from)).stdout).toContain(repository);
      const verify = await fsbackup('backups', 'verify', 'srv', '--full', ...from);
      expect(verify.exitCode).toBe(0);
      const out = path.join(directory, 'out');
      expect((await fsbackup('restore', 'srv', ...from, '--to', out)).exitCode).toBe(0);
      expect(await compareTrees(source, path.join(out, source), { ignoreRoot: true })).toEqual([]);
      expect(printed).not.toContain(path.join(directory, 'state', 'catalogue'));
    },
    LONG_MS,
  );

  it(
    'keeps its secrets from arguments, output, plan, reports, journal, catalogue and history',
    async () => {
      const rest = spawn(
        'rclone',
        ['serve', 'restic', '--addr', '127.0.0.1:0', '--user', 'me', '--pass', SECRET, repository],
        { stdio: ['ignore', 'ignore', 'pipe'], env: { PATH: process.env['PATH'], HOME: directory } },
      );
      try {
        const port = await new Promise<string>((resolve, reject) => {
          let said = '';
          rest.stderr.setEncoding('utf8').on('data', (chunk: string) => {
            said += chunk;
            const found = /127\.0\.0\.1:(\d+)/.exec(said)?.[1];
            if (found !== undefined) resolve(found);
          });
          rest.once('exit', () => reject(new Error(said)));
        });
        const environment = {
          RESTIC_CACHE_DIR: path.join(directory, 'cache'),
          RESTIC_REST_USERNAME: 'me',
          RESTIC_REST_PASSWORD: { file: key },
        };
        const password = { command: ['cat', key] };
        await configure([restic({ repository: `rest:http://127.0.0.1:${port}/`, password, environment })]);
        for (const args of [['plan'], ['config', 'show'], ['run', '--dry-run', '--json'], ['doctor']])
          await fsbackup(...args, '--config', config);
        // What is to be made is no problem.
        expect(printed).toContain(`rest:http://127.0.0.1:${port}/ is made by the first run`);

        const run = ['run', '--config', config, '--json'];
        const { started, ended, seen } = await watchArguments(cli, directory, ...run);
        expect(ended, started.output).toBe(0);
        printed += started.output;
        // It saw the program that it looked for.
        expect(seen.some((line) => line.includes('restic\0backup'))).toBe(true);
        expect(seen.filter((line) => line.includes(SECRET))).toEqual([]);
        await fsbackup('backups', 'show', 'srv', '--config', config, '--json');

        // The errors: a wrong password of the repository, of the server, and a server that is gone.
        await writeFile(key, 'wrong-but-secret');
        expect((await fsbackup('run', '--config', config)).exitCode).toBe(2);
        await writeFile(key, SECRET);
        rest.kill();
        await new Promise((resolve) => rest.once('exit', resolve));
        expect((await fsbackup('run', '--config', config)).exitCode).toBe(2);
        expect(printed).toContain('127.0.0.1');
        for (const text of [printed, await textBelow(path.join(directory, 'state'))]) {
          expect(text).not.toContain(SECRET);
          expect(text).not.toContain('wrong-but-secret');
        }
      } finally {
        rest.kill();
      }
    },
    LONG_MS,
  );

  it('refuses a secret that others may read, and one that is not there', async () => {
    await configure([restic()]);
    await chmod(key, 0o640);
    const open = await fsbackup('run', '--config', config);
    expect(open.exitCode).toBe(2);
    expect(printed).toContain(`${key} may be read by its group or by others`);
    await rm(key);
    await fsbackup('run', '--config', config);
    expect(printed).toContain(`there is no file ${key}`);
    await configure([restic({ password: { credential: 'restic' } })]);
    await fsbackup('run', '--config', config);
    expect(printed).toContain('LoadCredential=restic:FILE');
    await configure([restic({ password: { command: ['sh', '-c', `echo ${SECRET} >&2; exit 1`] } })]);
    await fsbackup('run', '--config', config);
    expect(printed).toContain('sh ended with exit code 1');
    expect(printed).not.toContain(SECRET);
  });
});
