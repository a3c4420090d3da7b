import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createResticEngine } from '../../src/copy/restic/restic-engine.js';
import { isRetryable } from '../../src/copy/copy-error.js';
import type { CopyEngine, CopyRequest } from '../../src/copy/engine.js';
import { describeNeeding } from '../support/capabilities.js';
import { compareTrees } from '../support/compare-trees.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { resticRepository, secretFile } from '../support/repositories.js';
import { S3Server } from '../support/s3-server.js';
import { textBelow, watchArguments } from '../support/secret-watch.js';
import { must } from '../support/throwaway-filesystem.js';

const KEYS = { id: 'AKIAFSBACKUPTEST', secret: 'wJalr+XUtn/FEMI-of-a-test' };
const LONG_MS = 400_000;

interface Listed {
  backups: { target: string; state: string }[];
}

const NEEDS = ['root', 'program:restic', 'program:strace'] as const;

describeNeeding(NEEDS, 'a restic repository in S3', () => {
  let directory: string;
  let source: string;
  let server: S3Server;
  let secret: string;

  beforeEach(async () => {
    directory = await mkdtemp(path.join(os.tmpdir(), 'restic-s3-'));
    source = path.join(directory, 'source');
    await mkdir(source);
    for (const name of ['a', 'b', 'c', 'd'])
      await must('dd', 'if=/dev/urandom', `of=${source}/${name}`, 'bs=1M', 'count=8', 'status=none');
    secret = secretFile(path.join(directory, 'keys', 's3'), KEYS.secret);
    server = await S3Server.start(path.join(directory, 's3'), KEYS);
  });
  afterEach(async () => {
    await server.kill();
    await rm(directory, { recursive: true, force: true });
  });

  /** A target of restic there; the secrets in files. */
  function target(): ReturnType<typeof resticRepository>['target'] {
    const { target: made } = resticRepository(path.join(directory, 'repository'), { isMade: false });
    if (made.repository === undefined) throw new Error('not a repository');
    const environment = {
      RESTIC_CACHE_DIR: path.join(directory, 'cache'),
      AWS_ACCESS_KEY_ID: { file: secretFile(path.join(directory, 'keys', 's3-id'), KEYS.id) },
      AWS_SECRET_ACCESS_KEY: { file: secret },
    };
    return { ...made, repository: { ...made.repository, repository: server.repository, environment } };
  }

  it(
    'is made, backed up to, listed, verified and restored, with keys that nobody sees',
    async () => {
      const config = path.join(directory, 'config.yaml');
      const cli = new FsbackupCli(directory);
      const targets = [{ engine: 'restic', ...target().repository }];
      const jobs = { srv: { sources: [{ path: source, snapshot: 'none' }], targets } };
      await writeFile(config, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
      let printed = '';
      const fsbackup = async (
        ...args: string[]
      ): Promise<{ exitCode: number | undefined; stdout: string }> => {
        const { exitCode, stdout, stderr } = await cli.run(...args, '--config', config);
        printed += stdout + stderr;
        return { exitCode, stdout };
      };

      // Keys that the server does not know are no reason to think that there is no repository.
      await writeFile(secret, 'not-the-key');
      expect((await fsbackup('doctor')).exitCode).toBe(1);
      expect((await fsbackup('run')).exitCode).toBe(2);
      expect(printed).toContain(`${server.repository} cannot be used`);
      expect(printed).toContain('signature');
      expect(printed).not.toMatch(/is made by the first run|restic init/);

      await writeFile(secret, KEYS.secret);
      await fsbackup('plan');
      const run = ['run', '--config', config, '--log-json'];
      const { started, ended, seen } = await watchArguments(cli, directory, ...run);
      expect(ended, started.output).toBe(0);
      printed += started.output;
      expect(seen.some((line) => line.includes('restic\0backup'))).toBe(true);

      const { backups } = JSON.parse((await fsbackup('backups', 'list', '--json')).stdout) as Listed;
      expect(backups).toMatchObject([{ target: server.repository, state: 'complete' }]);
      expect((await fsbackup('backups', 'verify', 'srv', '--full')).exitCode).toBe(0);
      const out = path.join(directory, 'out');
      expect((await fsbackup('restore', 'srv', '--to', out)).exitCode).toBe(0);
      expect(await compareTrees(source, path.join(out, source), { ignoreRoot: true })).toEqual([]);

      const kept = await textBelow(path.join(directory, 'state'));
      for (const text of [...seen, printed, kept]) {
        for (const key of [KEYS.id, KEYS.secret, 'not-the-key']) expect(text).not.toContain(key);
      }
    },
    LONG_MS,
  );

  async function request(name: string, more: Partial<CopyRequest> = {}): Promise<CopyRequest> {
    const dataDirectory = path.join(directory, name);
    await mkdir(dataDirectory);
    return {
      backup: { job: 'srv', backupId: `20261123T184500Z-${name}` },
      sources: [{ path: '/srv', readFrom: source, exclude: [] }],
      dataDirectory,
      parentDataDirectory: undefined,
      signal: new AbortController().signal,
      onProgress: () => undefined,
      ...more,
    };
  }

  it(
    'is lost when the server is killed in mid-copy, holds no backup then, and takes the next one',
    async () => {
      const engine: CopyEngine = createResticEngine(target(), {
        treeDirectory: path.join(directory, 'tree'),
        patienceMs: 2000,
      });
      await engine.openRepository?.({ initialise: true });
      let killed: Promise<void> | undefined;
      const broken = await request('00000a', {
        onProgress: ({ bytes }) => {
          if (bytes > 4 * 1024 ** 2) killed ??= server.kill();
        },
      });
      const error: unknown = await engine.copy(broken).catch((thrown: unknown) => thrown);
      expect(killed).toBeDefined();
      await killed;
      expect(error).toMatchObject({ code: 'copyFailed', exitCode: 40 });
      expect(isRetryable(error), String(error)).toBe(true);

      await server.again();
      const found = async (): Promise<string[]> =>
        ((await engine.find?.(new AbortController().signal)) ?? []).map(({ backupId }) => backupId);
      expect(await found()).toEqual([]);
      const next = await request('00000b');
      expect((await engine.copy(next)).unreadable).toEqual([]);
      expect(await found()).toEqual([next.backup.backupId]);
      const destination = path.join(directory, 'out');
      await mkdir(destination);
      await engine.restore({ ...next, sources: ['/srv'], destination, paths: [] });
      expect(await compareTrees(source, path.join(destination, 'srv'))).toEqual([]);
    },
    LONG_MS,
  );
});
