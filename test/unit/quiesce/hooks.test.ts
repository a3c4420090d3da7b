import { describe, expect, it } from 'vitest';
import { quiesceApplication, releaseApplication } from '../../../src/quiesce/hooks.js';
import { runCommand, type CommandResult } from '../../../src/system/run-command.js';

const never = new AbortController().signal;

function hook(before: readonly string[], after: readonly string[] = ['true']) {
  return { name: 'db', before, after, timeoutMs: 60_000 };
}

function runNothing(): Promise<never> {
  return Promise.reject(new Error('nothing to run'));
}

describe('a quiesce hook', () => {
  it('runs its programs as they are given, without a shell', async () => {
    const literally = hook(['test', '$HOME;', '=', '$HOME;'], ['test', '*', '=', '*']);
    await expect(quiesceApplication(literally, runCommand, { signal: never })).resolves.toBeUndefined();
    await expect(releaseApplication(literally, runCommand)).resolves.toBeUndefined();
  });

  it('that fails says which, how, and that nothing was frozen', async () => {
    const failing = hook(['sh', '-c', 'echo no connection >&2; exit 3']);
    await expect(quiesceApplication(failing, runCommand, { signal: never })).rejects.toMatchObject({
      code: 'failed',
      message: expect.stringMatching(/^quiesce db: .*exit code 3: no connection$/) as string,
      hint: expect.stringContaining('nothing was frozen') as string,
    });
  });

  it('that does not end in time fails', async () => {
    const hanging = { ...hook(['sleep', '600']), timeoutMs: 50 };
    await expect(quiesceApplication(hanging, runCommand, { signal: never })).rejects.toMatchObject({
      message: expect.stringContaining('did not end in time') as string,
    });
    const minute = { ...hook(['sleep', '600']), timeoutMs: 61_000 };
    const late = async (): Promise<CommandResult> => {
      const result = await runCommand(['false']);
      return { ...result, exitCode: undefined, timedOut: true };
    };
    await expect(quiesceApplication(minute, late, { signal: never })).rejects.toMatchObject({
      message: 'quiesce db: sleep 600 did not end in time (timeout: 61s)',
      hint: expect.stringContaining('`timeout` beside its `before`') as string,
    });
  });

  it('that is one string is told to be a list', async () => {
    await expect(
      quiesceApplication(hook(['echo hold']), runCommand, { signal: never }),
    ).rejects.toMatchObject({
      message: "quiesce db: no program is called 'echo hold'",
      hint: expect.stringContaining('before: [echo, hold]') as string,
    });
  });

  it('that is interrupted ends with the reason', async () => {
    const controller = new AbortController();
    const waiting = quiesceApplication(hook(['sleep', '600']), runCommand, {
      signal: controller.signal,
    });
    controller.abort(new Error('interrupted by INT'));
    await expect(waiting).rejects.toThrow('interrupted by INT');
  });

  it('whose release fails says how to do it by hand', async () => {
    await expect(releaseApplication(hook([], ['false', '--resume']), runCommand)).rejects.toMatchObject({
      code: 'cleanupIncomplete',
      hint: expect.stringContaining('`false --resume`') as string,
    });
    // As it can be copied into a shell.
    const shell = hook([], ['sh', '-c', 'echo x; exit 1']);
    await expect(releaseApplication(shell, runCommand)).rejects.toMatchObject({
      hint: expect.stringContaining("`sh -c 'echo x; exit 1'`") as string,
    });
  });

  it('may have one half only', async () => {
    await expect(quiesceApplication(hook([]), runNothing, { signal: never })).resolves.toBeUndefined();
    await expect(releaseApplication(hook([], []), runNothing)).resolves.toBeUndefined();
  });
});
