import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { isRetryable } from '../../../src/copy/copy-error.js';
import { ResticRepository } from '../../../src/copy/restic/restic-repository.js';
import type { CommandResult, runCommand } from '../../../src/system/run-command.js';

const WHY = 'Head "http://127.0.0.1:1/config": dial tcp 127.0.0.1:1: connect: connection refused';

/** A restic that tries again and again, for this reason, and is told of none when it is stopped. */
async function tryAgain(why: string, options: Parameters<typeof runCommand>[1]): Promise<CommandResult> {
  options?.onStderrLine?.(`Stat(<config/>) returned error, retrying after 1.424821519s: ${why}`);
  const { signal } = options ?? {};
  if (signal !== undefined && !signal.aborted) await once(signal, 'abort');
  return {
    exitCode: 1,
    signal: undefined,
    notFound: false,
    timedOut: false,
    aborted: true,
    stdout: '',
    stderr:
      'Fatal: unable to open config file: context canceled\nIs there a repository at the following location?',
  };
}

const tryingAgain: typeof runCommand = (_argv, options) => tryAgain(WHY, options);

describe('a server of restic that does not answer', () => {
  const repository = new ResticRepository(tryingAgain, 'rest:http://127.0.0.1:1/', [], {
    answerPatienceMs: 20,
  });

  it('is waited for a while, told by its reason, and no repository that is to be made', async () => {
    await expect(repository.open(true)).rejects.toMatchObject({
      code: 'usage',
      message: `rest:http://127.0.0.1:1/ cannot be used: ${WHY}`,
    });
  });

  it('is a lost connection to who asks for snapshots', async () => {
    const error = await repository.snapshots().catch((thrown: unknown) => thrown);
    expect(isRetryable(error)).toBe(true);
  });

  it('is not waited for by who was stopped', async () => {
    await expect(
      new ResticRepository(tryingAgain, 'r', [], { answerPatienceMs: 60_000 }).snapshots(AbortSignal.abort()),
    ).rejects.toMatchObject({ code: 'copyFailed' });
  });

  it('on a disk that is broken is not waited for, and told by that', async () => {
    const why = 'open /mnt/r/config: input/output error';
    const broken = new ResticRepository((_argv, options) => tryAgain(why, options), '/mnt/r', [], {
      answerPatienceMs: 60_000,
    });
    await expect(broken.open(true)).rejects.toMatchObject({ message: `/mnt/r cannot be used: ${why}` });
  });
});
