import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { OwnLocks, parseLock } from '../../src/copy/restic/own-locks.js';
import { runCommand } from '../../src/system/run-command.js';
import { describeNeeding } from '../support/capabilities.js';
import { makeQuickResticRepository } from '../support/quick-restic-repository.js';

const LONG_MS = 120_000;
const env = { RESTIC_PASSWORD: 'pw' };

describeNeeding(['root', 'program:restic'], 'locks of a repository of restic', () => {
  let directory: string;
  let repository: string;
  let state: string;
  let own: OwnLocks;
  const locks = (): Promise<string[]> => readdir(path.join(repository, 'locks'));

  beforeEach(async () => {
    directory = await mkdtemp(path.join(os.tmpdir(), 'restic-locks-'));
    repository = path.join(directory, 'repository');
    state = path.join(directory, 'state');
    await mkdir(state, { mode: 0o700 });
    makeQuickResticRepository(repository, env.RESTIC_PASSWORD);
    own = new OwnLocks(
      repository,
      async (id) => {
        const said = await runCommand(['restic', '-r', repository, 'cat', '--no-lock', 'lock', id], { env });
        return parseLock(said.stdout);
      },
      state,
    );
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  /** A restic that has locked the repository and waits for what it is to store; `end` kills it. */
  async function holdLock(start: 'ours' | 'another'): Promise<{ pid: number; end: () => Promise<void> }> {
    const before = (await locks()).length;
    const argv = ['restic', '-q', '-r', repository, '--no-cache', 'backup', '--stdin'] as const;
    const feeder = spawn('sleep', ['100'], { stdio: ['ignore', 'pipe', 'ignore'] });
    let pid = 0;
    let ended: Promise<unknown>;
    if (start === 'ours') {
      ended = own.around((watch) =>
        runCommand(argv, {
          env,
          stdinFrom: feeder.stdout,
          watch: () => ({
            started: (group) => {
              pid = group;
              watch.started(group);
            },
            ended: () => watch.ended(),
          }),
        }),
      );
    } else {
      const [program, ...rest] = argv;
      const child = spawn(program, rest, {
        env: { ...process.env, ...env },
        stdio: [feeder.stdout, 'ignore', 'ignore'],
      });
      pid = child.pid ?? 0;
      ended = once(child, 'exit');
    }
    while ((await locks()).length === before) await sleep(50);
    return {
      pid,
      end: async () => {
        process.kill(pid, 'SIGKILL');
        feeder.kill('SIGKILL');
        await ended;
      },
    };
  }

  it(
    'are removed where they are of a restic of ours that was killed, and no others are',
    async () => {
      const another = await holdLock('another');
      const [foreign = ''] = await locks();
      const ours = await holdLock('ours');
      expect(await locks()).toHaveLength(2);
      await own.settle();
      expect(await locks()).toHaveLength(2);
      await ours.end();
      await own.settle();
      expect(await locks()).toEqual([foreign]);
      // Not of one that we started: also when it is dead, and names this host.
      await another.end();
      await own.settle();
      expect(await locks()).toEqual([foreign]);
    },
    LONG_MS,
  );

  it(
    'of one that ended by itself leave no note',
    async () => {
      const argv = ['restic', '-r', repository, '--no-cache', 'check'] as const;
      const result = await own.around((watch) => runCommand(argv, { env, watch: () => watch }));
      expect(result.exitCode).toBe(0);
      const [notes = ''] = await readdir(path.join(state, 'restic'));
      expect(await readdir(path.join(state, 'restic', notes))).toEqual([]);
    },
    LONG_MS,
  );

  it(
    'stay where the pid is used again, or was one of another PID namespace',
    async () => {
      const ours = await holdLock('ours');
      await ours.end();
      const [name = ''] = await readdir(path.join(state, 'restic'));
      const [note = ''] = await readdir(path.join(state, 'restic', name));
      const file = path.join(state, 'restic', name, note);
      const record = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
      await writeFile(file, JSON.stringify({ ...record, pidNamespace: 'pid:[1]' }));
      await own.settle();
      expect(await locks()).toHaveLength(1);
      // As after a reboot, with the pid in a lock that is this test's own.
      await writeFile(file, JSON.stringify({ ...record, bootId: 'another', pid: process.pid }));
      await own.settle();
      expect(await locks()).toHaveLength(1);
    },
    LONG_MS,
  );
});
