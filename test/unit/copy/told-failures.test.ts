import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { catalogueDirectory } from '../../../src/backup-target.js';
import { BorgRepository } from '../../../src/copy/borg/borg-repository.js';
import type { CopyEngine } from '../../../src/copy/engine.js';
import { targetFrom } from '../../../src/copy/target/from-target.js';
import { openCatalogue } from '../../../src/copy/repository/catalogue.js';
import { NoRepositoryError } from '../../../src/copy/repository/open-repository.js';
import { examineRepository } from '../../../src/copy/repository/preflight-repository.js';
import { extractSnapshot } from '../../../src/copy/restic/restic-restore.js';
import { ResticRepository } from '../../../src/copy/restic/restic-repository.js';
import { rememberFilesystem } from '../../../src/copy/target/target-identity.js';
import { readFilesystemFacts } from '../../../src/system/filesystem-facts.js';
import type { CommandResult, runCommand } from '../../../src/system/run-command.js';

const DONE = { signal: undefined, notFound: false, timedOut: false, aborted: false, stdout: '' } as const;

/** A program that says this on stderr, line by line, and ends so. */
function saying(exitCode: number, stderr: string): typeof runCommand {
  return async (argv, options): Promise<CommandResult> => {
    if (argv.includes('version'))
      return { ...DONE, exitCode: 0, stdout: 'restic 0.18.0 compiled with go1.24\n', stderr: '' };
    for (const line of stderr.split('\n')) options?.onStderrLine?.(line);
    return await Promise.resolve({ ...DONE, exitCode, stderr });
  };
}

/** As borg 1.2.4 said it (`--log-json`) of a repository on a disk that was mounted read-only; its own frames cut. */
function borgSays(why: string): string {
  const lock = `Failed to create/acquire the lock /mnt/r/lock.exclusive (${why}).`;
  const traceback = [
    'Traceback (most recent call last):',
    '  File "/usr/lib/python3/dist-packages/borg/locking.py", line 137, in acquire',
    '    raise LockFailed(self.path, str(err)) from None',
    `borg.locking.LockFailed: ${lock}`,
    '',
    'Platform: Linux vm 6.18.44 #1 SMP x86_64',
    'Borg: 1.2.4  Python: CPython 3.11.2',
    "sys.argv: ['/usr/bin/borg', '--log-json', 'info', '--json']",
    'SSH_ORIGINAL_COMMAND: None',
    '',
  ].join('\n');
  const lines = [
    { type: 'log_message', message: lock, levelname: 'ERROR', msgid: 'LockFailed' },
    { type: 'log_message', message: traceback, levelname: 'ERROR' },
  ];
  return lines.map((line) => JSON.stringify(line)).join('\n');
}

it('a directory whose name is no UTF-8 is not said to be missing without a word of that', async () => {
  const told: unknown = await readFilesystemFacts('/nowhere/bad\u{fffd}').catch((error: unknown) => error);
  expect(told).toMatchObject({ hint: expect.stringContaining('not UTF-8') as string });
  const other: unknown = await readFilesystemFacts('/nowhere/good').catch((error: unknown) => error);
  expect(other).toMatchObject({ hint: expect.stringContaining('Correct the path') as string });
});

describe('a borg that fails', () => {
  const open = (why: string): Promise<unknown> =>
    new BorgRepository(saying(2, borgSays(why)), '/mnt/r', 'none')
      .open(false)
      .catch((error: unknown) => error);

  it('on a read-only disk is told by that, and not as one that is locked by another', async () => {
    expect(await open("[Errno 30] Read-only file system: '/mnt/r/lock'")).toMatchObject({
      code: 'usage',
      message: '/mnt/r cannot be used: borg: Read-only file system',
      hint: expect.stringContaining('read-write') as string,
    });
  });

  it('with a traceback is told by the exception, and not by the environment that it prints after that', async () => {
    const error = await open("[Errno 13] Permission denied: '/mnt/r/lock'");
    expect((error as Error).message).toMatch(/LockFailed: .*Permission denied/);
    expect((error as Error).message).not.toMatch(/SSH_ORIGINAL_COMMAND|another borg/);
  });

  it('for want of room tells how much it asked for', async () => {
    const full =
      'Insufficient free space to complete transaction (required: 545.43 MB, available: 39.53 MB).';
    const failed = new BorgRepository(saying(2, full), '/mnt/r', 'none').archives();
    await expect(failed).rejects.toMatchObject({
      message: `the copy failed: borg: No space left: ${full.slice(0, -1)}`,
      hint: expect.stringContaining('Make room') as string,
    });
  });

  it('for a lock that another holds is told as that', async () => {
    expect(await open('timeout')).toMatchObject({
      message: expect.stringContaining('Failed to create/acquire the lock') as string,
    });
    const repository = new BorgRepository(saying(2, borgSays('timeout')), '/mnt/r', 'none');
    await expect(repository.archives()).rejects.toThrow('locked by another borg');
  });
});

describe('a restic that restores', () => {
  const IGNORED = 'ignoring error for /srv/a: write /out/srv/a:';

  async function restore(why: string): Promise<{ lost: string[]; error: unknown }> {
    return await restored(`${IGNORED} ${why}\nFatal: There were 1 errors\n`);
  }

  async function restored(stderr: string): Promise<{ lost: string[]; error: unknown }> {
    const lost: string[] = [];
    const error = await extractSnapshot(
      new ResticRepository(saying(1, stderr), '/mnt/r', []),
      '1a2b3c',
      { staged: '/out', paths: ['/srv'], unreadable: { add: (one: string) => void lost.push(one) } as never },
      { signal: new AbortController().signal, onProgress: () => undefined },
    ).catch((thrown: unknown) => thrown);
    return { lost, error };
  }

  it('to a full disk has failed for want of room, whatever else it brought', async () => {
    expect((await restore('no space left on device')).error).toMatchObject({
      code: 'copyFailed',
      message: 'the copy failed: restic: no space left on device',
      hint: expect.stringContaining('Make room') as string,
    });
  });

  it('from a repository that is gone says so, and not its address for a reason', async () => {
    const said =
      'Fatal: unable to open config file: stat /mnt/r/config: no such file or directory\nIs there a repository at the following location?\n/mnt/r';
    expect((await restored(said)).error).toMatchObject({
      code: 'copyFailed',
      message:
        '/mnt/r is no repository, or not there: unable to open config file: stat /mnt/r/config: no such file or directory',
      hint: 'Mount the disk that it lies on, or correct its address.',
    });
  });

  it('takes an attribute that a target has no room for for no full target', async () => {
    const why = 'xattr.LSet /out/srv/a user.big: no space left on device';
    const lost = { lost: ['/srv/a'], error: undefined };
    expect(await restored(`ignoring error for /srv/a: ${why}\nFatal: There were 1 errors\n`)).toEqual(lost);
    const json = { message_type: 'error', error: { message: why }, during: 'restore', item: '/srv/a' };
    const exit = { message_type: 'exit_error', code: 1, message: 'Fatal: There were 1 errors\n' };
    expect(await restored(`${JSON.stringify(json)}\n${JSON.stringify(exit)}\n`)).toEqual(lost);
  });

  it('tells of what restic counts and does not name, whatever else it named', async () => {
    const said = `${IGNORED} invalid argument\nFatal: There were 2 errors\n`;
    expect((await restored(said)).lost).toEqual([
      '/srv/a',
      '/srv/(some files: restic counts 2 errors, and names 1)',
    ]);
  });

  it('names a file that it could not write for another reason, and goes on', async () => {
    expect(await restore('invalid argument')).toEqual({ lost: ['/srv/a'], error: undefined });
  });
});

describe('a repository', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(path.join(os.tmpdir(), 'told-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  it('that is missing where the job has backups is to be brought back, and not made', async () => {
    const missing = new NoRepositoryError('usage', 'there is none', {
      hint: 'Make it, or say `initialise: true`.',
    });
    const engine = { name: 'restic', openRepository: () => Promise.reject(missing) } as Partial<CopyEngine>;
    const repository = { repository: 'rest:http://h/', initialise: true, environment: {} };
    const check = {
      target: { path: path.join(directory, 'catalogue'), engine: 'restic', repository },
      job: 'srv',
      engine: engine as CopyEngine,
      stateDirectory: directory,
    } as const;
    expect(await examineRepository(check)).toBe('absent');

    const identity = { kind: 'repository', value: '1a2b3c', fstype: 'restic' } as const;
    await rememberFilesystem({ job: 'srv', target: check.target.path }, identity, directory);
    const told: unknown = await examineRepository(check).catch((error: unknown) => error);
    expect(told).toMatchObject({ code: 'usage', message: 'there is none' });
    expect((told as NoRepositoryError).hint).toMatch(/srv has backups in it: mount the disk/);
    expect((told as NoRepositoryError).hint).not.toContain('initialise');
  });

  it('that is missing where another job has backups is not made either, however its path is written', async () => {
    const missing = new NoRepositoryError('usage', 'there is none', { hint: 'Make it.' });
    const engine = { name: 'restic', openRepository: () => Promise.reject(missing) } as Partial<CopyEngine>;
    await mkdir(path.join(directory, 'disk'));
    await symlink(path.join(directory, 'disk'), path.join(directory, 'link'));
    const examine = async (job: string): Promise<unknown> =>
      await examineRepository({
        target: {
          path: path.join(directory, 'another-catalogue'),
          engine: 'restic',
          repository: { repository: path.join(directory, 'link/restic'), initialise: true, environment: {} },
        },
        job,
        engine: engine as CopyEngine,
        stateDirectory: path.join(directory, 'state'),
      }).catch((error: unknown) => error);
    expect(await examine('web')).toBe('absent');
    const of = { job: 'srv', target: '/catalogue', directory: path.join(directory, 'disk/restic') };
    const identity = { kind: 'repository', value: '1a2b3c', fstype: 'restic' } as const;
    await rememberFilesystem(of, identity, path.join(directory, 'state'));
    expect(await examine('web')).toMatchObject({
      code: 'usage',
      hint: expect.stringContaining('srv has backups in it') as string,
    });
  });

  it('keeps the password that it was reached with, when another is mistyped', async () => {
    vi.stubEnv('FSBACKUP_STATE_DIR', path.join(directory, 'state'));
    try {
      const right = path.join(directory, 'right');
      await writeFile(right, 'secret', { mode: 0o600 });
      const from = { from: path.join(directory, 'repository'), engine: 'restic' };
      const password = { file: right };
      expect(await targetFrom({ ...from, passwordFile: right })).toMatchObject({ repository: { password } });
      await expect(targetFrom({ ...from, passwordFile: `${right}x` })).rejects.toThrow('there is no file');
      expect(await targetFrom(from)).toMatchObject({ repository: { password } });
    } finally {
      vi.unstubAllEnvs();
    }
  });

  it('is a directory of backups where it is none, whatever engine is named with it', async () => {
    vi.stubEnv('FSBACKUP_STATE_DIR', path.join(directory, 'state'));
    try {
      for (const engine of ['rsync', 'tar', 'command', 'image', 'btrfs-send', 'zfs-send'])
        expect(await targetFrom({ from: directory, engine })).toEqual({ path: directory });
      await expect(targetFrom({ from: directory, engine: 'tra' })).rejects.toThrow('no such engine');
      await expect(targetFrom({ from: 'ofsite', engine: 'tar' })).rejects.toMatchObject({
        code: 'usage',
        message: 'no target of tar with the name ofsite is known here',
      });
      const known = { from: directory, engine: 'tar' };
      const repository = { repository: directory, initialise: false, environment: {} };
      const catalogue = catalogueDirectory('tar', directory, path.join(directory, 'state'));
      await openCatalogue({ path: catalogue, repository });
      expect(await targetFrom(known)).toMatchObject({ path: catalogue, engine: 'tar' });
    } finally {
      vi.unstubAllEnvs();
    }
  });

  it('is not taken for a directory without backups', async () => {
    expect(await targetFrom({ from: directory })).toEqual({ path: directory });
    await writeFile(path.join(directory, 'config'), '[repository]\nversion = 1\n');
    await expect(targetFrom({ from: directory })).rejects.toMatchObject({
      code: 'usage',
      hint: 'Say so: --engine borg --password-file FILE.',
    });
    await writeFile(path.join(directory, 'config'), 'sealed');
    for (const name of ['keys', 'snapshots']) await mkdir(path.join(directory, name));
    await expect(targetFrom({ from: directory })).rejects.toThrow('is a repository of restic');
  });

  it('is known for that of the other program, however it is named', async () => {
    await writeFile(path.join(directory, 'config'), '[repository]\nversion = 1\n');
    const wrong = {
      code: 'usage',
      message: `${directory} is a repository of borg, and not of restic`,
      hint: expect.stringContaining('--engine borg') as string,
    };
    await expect(targetFrom({ from: directory, engine: 'restic' })).rejects.toMatchObject(wrong);
    const repository = { repository: `local:${directory}`, initialise: true, environment: {} };
    const target = { engine: 'restic', path: path.join(directory, 'catalogue'), repository } as const;
    const engine = { openRepository: () => Promise.resolve('asked') } as unknown as CopyEngine;
    await expect(examineRepository({ target, job: 'srv', engine })).rejects.toMatchObject(wrong);
    await writeFile(path.join(directory, 'config'), 'sealed');
    for (const name of ['keys', 'snapshots']) await mkdir(path.join(directory, name));
    await expect(targetFrom({ from: directory, engine: 'borg' })).rejects.toThrow(
      'of restic, and not of borg',
    );
  });
});
