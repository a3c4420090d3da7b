import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isRefusal, isRetryable, withCopyErrors } from '../../../src/copy/copy-error.js';
import { createRsyncEngine } from '../../../src/copy/rsync/rsync-engine.js';
import { createTarEngine } from '../../../src/copy/tar/tar-engine.js';
import { FsbackupError, messageOf } from '../../../src/errors.js';
import type { CommandOptions, CommandResult } from '../../../src/system/run-command.js';

const DONE: CommandResult = {
  exitCode: 0,
  signal: undefined,
  notFound: false,
  timedOut: false,
  aborted: false,
  stdout: '',
  stderr: '',
};

/** A program that says and ends as told, whatever it is asked. */
function ending(result: Partial<CommandResult>) {
  return async (_argv: readonly [string, ...string[]], options?: CommandOptions): Promise<CommandResult> => {
    for (const line of (result.stderr ?? '').split('\n')) options?.onStderrLine?.(line);
    return await Promise.resolve({ ...DONE, ...result });
  };
}

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), 'failures-'));
  await mkdir(path.join(directory, 'data'));
  await mkdir(path.join(directory, 'source'));
  await writeFile(path.join(directory, 'source', 'x'), 'x');
});
afterEach(() => rm(directory, { recursive: true }));

async function failureOf(
  create: typeof createRsyncEngine,
  result: Partial<CommandResult>,
): Promise<FsbackupError> {
  const copy = create(ending(result)).copy({
    sources: [{ path: '/srv', readFrom: path.join(directory, 'source'), exclude: [] }],
    dataDirectory: path.join(directory, 'data'),
    backup: { job: 'srv', backupId: '20261123T184500Z-1a2b3c' },
    parentDataDirectory: undefined,
    signal: new AbortController().signal,
    onProgress: () => undefined,
  });
  const error: unknown = await copy.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof FsbackupError))
    throw new Error('the copy did not fail as it should', { cause: error });
  return error;
}

describe('a failure of rsync', () => {
  it('is worth another try when the connection was lost', async () => {
    for (const exitCode of [10, 12, 30, 35]) {
      const error = await failureOf(createRsyncEngine, {
        exitCode,
        stderr: 'rsync error: timeout in data send/receive',
      });
      expect(error.code).toBe('copyFailed');
      expect(isRetryable(error)).toBe(true);
    }
    const stale = 'rsync: [receiver] write failed on "/d/x": Stale file handle (116)';
    expect(isRetryable(await failureOf(createRsyncEngine, { exitCode: 11, stderr: stale }))).toBe(true);
  });

  it('is final when the target is full, by whatever code', async () => {
    const stderr = 'rsync: [receiver] mkstemp "/d/.x" failed: No space left on device (28)';
    for (const exitCode of [11, 12, 23]) {
      const error = await failureOf(createRsyncEngine, { exitCode, stderr });
      expect(error.message).toContain('No space left on device');
      expect(error.hint).toContain('room');
      expect(isRetryable(error)).toBe(false);
    }
  });

  it('is not told by the names of files', async () => {
    for (const name of ['No space left on device (28)', 'Connection timed out (110)']) {
      const stderr = `rsync: [sender] send_files failed to open "/srv/${name}": Permission denied (13)`;
      const error = await failureOf(createRsyncEngine, { exitCode: 11, stderr });
      expect(error.hint).toContain('Mend what it names');
      expect(isRetryable(error)).toBe(false);
    }
  });

  it('is final otherwise: a signal, a code without a reason, no rsync', async () => {
    expect(isRetryable(await failureOf(createRsyncEngine, { exitCode: undefined, signal: 'SIGKILL' }))).toBe(
      false,
    );
    expect(
      (await failureOf(createRsyncEngine, { exitCode: undefined, signal: 'SIGKILL' })).message,
    ).toContain('SIGKILL');
    expect((await failureOf(createRsyncEngine, { exitCode: 23 })).code).toBe('copyFailed');
    const missing = await failureOf(createRsyncEngine, { exitCode: undefined, notFound: true });
    expect([missing.code, missing.message]).toEqual(['usage', 'rsync is not installed']);
    expect((await failureOf(createRsyncEngine, { exitCode: undefined, aborted: true })).message).toContain(
      'stopped',
    );
  });
});

describe('a failure of tar', () => {
  it('is final when the target is full, worth another try when it went away', async () => {
    const full = await failureOf(createTarEngine, {
      exitCode: 2,
      stderr: 'zstd: error 70 : Write error : cannot write block : No space left on device',
    });
    expect([full.code, isRetryable(full)]).toEqual(['copyFailed', false]);
    const lost = await failureOf(createTarEngine, {
      exitCode: 2,
      stderr: 'tar: x: Cannot write: Stale file handle',
    });
    expect(isRetryable(lost)).toBe(true);
  });

  it('is final when it was ended by a signal', async () => {
    const error = await failureOf(createTarEngine, { exitCode: undefined, signal: 'SIGKILL' });
    expect([error.code, isRetryable(error)]).toEqual(['copyFailed', false]);
  });
});

function failing(code: string): () => Promise<never> {
  return () => Promise.reject(Object.assign(new Error(`${code}: mkdir`), { code }));
}

function rsyncVersion(stdout: string): Promise<Record<string, string>> {
  return createRsyncEngine(ending({ stdout })).preflight();
}

describe('an error of a system call during a copy', () => {
  it('is a failed copy with a hint, and a lost connection where the errno says so', async () => {
    await expect(withCopyErrors(failing('ENOSPC'))).rejects.toMatchObject({
      code: 'copyFailed',
      hint: expect.stringContaining('room') as string,
    });
    const lost: unknown = await withCopyErrors(failing('ESTALE')).catch((error: unknown) => error);
    expect(isRetryable(lost)).toBe(true);
  });

  it('is known by its number where Node has no name for it', async () => {
    // As Node makes them, of system calls that fail so.
    const unnamed = (errno: number): (() => Promise<never>) => {
      const code = `Unknown system error -${errno}`;
      return () =>
        Promise.reject(Object.assign(new Error(`${code}: ${code}, write`), { code, errno: -errno }));
    };
    await expect(withCopyErrors(unnamed(122))).rejects.toMatchObject({
      message: 'the copy failed: EDQUOT: disk quota exceeded, write',
      hint: expect.stringContaining('room') as string,
    });
    const broken: unknown = await withCopyErrors(unnamed(117)).catch((error: unknown) => error);
    expect(messageOf(broken)).toBe('the copy failed: EUCLEAN: structure needs cleaning, write');
    expect(isRefusal(broken)).toBe(true);
    const lost: unknown = await withCopyErrors(unnamed(116)).catch((error: unknown) => error);
    expect([isRetryable(lost), messageOf(lost)]).toEqual([
      true,
      'the copy failed: ESTALE: stale file handle, write',
    ]);
  });

  it('leaves bugs alone', async () => {
    await expect(withCopyErrors(() => Promise.reject(new TypeError('bug')))).rejects.toBeInstanceOf(
      TypeError,
    );
  });
});

describe('what an engine needs', () => {
  it('is an rsync that is there, new enough and complete', async () => {
    const whole = 'rsync  version 3.2.7  protocol version 31\nCapabilities:\n  hardlinks, ACLs, xattrs\n';
    await expect(rsyncVersion(whole)).resolves.toEqual({ rsync: '3.2.7' });
    await expect(rsyncVersion(whole.replace('3.2.7', '3.1.2'))).rejects.toThrow('older than 3.1.3');
    await expect(rsyncVersion(whole.replace('ACLs', 'no ACLs'))).rejects.toThrow('without ACLs');
    const missing = createRsyncEngine(ending({ exitCode: undefined, notFound: true })).preflight();
    await expect(missing).rejects.toMatchObject({ code: 'usage', message: 'rsync is not installed' });
  });

  it('is GNU tar with zstd', async () => {
    const stdout = 'tar (GNU tar) 1.34\n*** Zstandard CLI (64-bit) v1.5.4, by Yann Collet ***\n';
    await expect(createTarEngine(ending({ stdout })).preflight()).resolves.toEqual({
      tar: '1.34',
      zstd: '1.5.4',
    });
    const busybox = createTarEngine(ending({ stdout: 'tar (busybox) 1.36.1\n' })).preflight();
    await expect(busybox).rejects.toMatchObject({
      code: 'usage',
      message: 'the tar on the PATH is not GNU tar',
    });
  });
});
