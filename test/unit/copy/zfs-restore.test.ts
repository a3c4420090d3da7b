import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { restoreOpened } from '../../../src/copy/filesystem/open-trees.js';
import { writeZfsContents } from '../../../src/copy/zfs/zfs-contents.js';
import { zfsOpener } from '../../../src/copy/zfs/zfs-restore.js';
import type { CommandResult, runCommand } from '../../../src/system/run-command.js';
import { restoreRequest } from '../../support/engine-requests.js';

function ended(exitCode: number, stderr = ''): CommandResult {
  return {
    exitCode,
    stdout: '',
    stderr,
    signal: undefined,
    notFound: false,
    timedOut: false,
    aborted: false,
  };
}

describe('a restore that receives a stream into a pool of its own', () => {
  let directory: string;
  let [data, out] = ['', ''];

  beforeEach(async () => {
    directory = await mkdtemp(path.join(os.tmpdir(), 'zfs-restore-'));
    [data, out] = [path.join(directory, 'data'), path.join(directory, 'out')];
    for (const one of [data, out]) await mkdir(one);
    const origin = {
      name: 'one',
      origin: 'tank/srv',
      kind: 'filesystem',
      isRaw: false,
      guid: '1',
      bytes: 10,
    } as const;
    const trees = [{ path: '/srv', snapshot: 'one', inside: '' }];
    await writeZfsContents(data, {
      version: 1,
      kind: 'stream',
      isComplete: true,
      trees,
      snapshots: [origin],
    });
  });
  afterEach(async () => {
    await rm(directory, { recursive: true });
  });

  /** Restores where `zpool destroy` ends so, and the stream cannot be unpacked. */
  async function restore(destroyed: CommandResult): Promise<unknown> {
    const run: typeof runCommand = async (argv) => {
      if (argv[0] === 'zpool') return argv[1] === 'destroy' ? destroyed : ended(0);
      return argv[0] === 'zstd' ? ended(1, 'zstd: decoding error') : ended(0);
    };
    const sources = [{ path: '/srv', readFrom: '/srv', exclude: [] }];
    return await restoreOpened(restoreRequest(sources, data, out), zfsOpener(undefined, run), run).catch(
      (error: unknown) => error,
    );
  }

  it('fails for what it failed for, and leaves nothing', async () => {
    expect(await restore(ended(0))).toMatchObject({ code: 'copyFailed' });
    expect(await readdir(out)).toEqual([]);
  });

  it('says so, and how to end it, where the pool cannot be destroyed', async () => {
    expect(await restore(ended(1, 'cannot destroy: pool is busy'))).toMatchObject({
      code: 'cleanupIncomplete',
      exitCode: 60,
      message: expect.stringContaining('pool is busy') as string,
      hint: expect.stringMatching(/zpool destroy -f fsbackup-restore-/) as string,
      cause: { code: 'copyFailed' },
    });
  });
});
