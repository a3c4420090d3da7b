import { describe, expect, it } from 'vitest';
import { checkRsync } from '../../../src/copy/rsync-version.js';
import { checkTar } from '../../../src/copy/tar-version.js';
import type { CommandResult } from '../../../src/system/run-command.js';

const KILLED: CommandResult = {
  exitCode: undefined,
  signal: 'SIGKILL',
  notFound: false,
  timedOut: false,
  aborted: false,
  stdout: '',
  stderr: '',
};

describe.each([
  ['rsync', checkRsync],
  ['tar', checkTar],
] as const)('the look for %s', (program, check) => {
  it('that was cut short does not call the program missing', async () => {
    await expect(check(async () => KILLED)).rejects.toMatchObject({
      code: 'failed',
      message: `${program} --version was ended by SIGKILL`,
    });
    await expect(check(async () => ({ ...KILLED, timedOut: true }))).rejects.toMatchObject({
      code: 'failed',
    });
  });

  it('that finds none is a matter of the configuration', async () => {
    await expect(check(async () => ({ ...KILLED, signal: undefined, notFound: true }))).rejects.toMatchObject(
      {
        code: 'usage',
      },
    );
  });
});
