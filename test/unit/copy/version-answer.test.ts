import { describe, expect, it } from 'vitest';
import { BorgRepository } from '../../../src/copy/borg/borg-repository.js';
import { ResticRepository } from '../../../src/copy/restic/restic-repository.js';
import { checkRsync } from '../../../src/copy/rsync/rsync-version.js';
import { checkTar } from '../../../src/copy/tar/tar-version.js';
import type { CommandResult, runCommand } from '../../../src/system/run-command.js';

const KILLED: CommandResult = {
  exitCode: undefined,
  signal: 'SIGKILL',
  notFound: false,
  timedOut: false,
  aborted: false,
  stdout: '',
  stderr: '',
};

type Check = (run: typeof runCommand) => Promise<unknown>;
const CHECKS: [string, string, Check][] = [
  ['rsync', 'rsync', checkRsync],
  ['tar', 'tar', checkTar],
  ['borg', 'borg', async (run) => await new BorgRepository(run, 'a repository', 'none').version()],
  ['restic', 'restic', async (run) => await new ResticRepository(run, 'a repository', []).version()],
];

describe.each(CHECKS)('the look for %s', (_, program, check) => {
  it('that was cut short does not call the program missing', async () => {
    await expect(check(async () => KILLED)).rejects.toMatchObject({
      code: 'failed',
      message: `${program} --version was ended by SIGKILL`,
    });
    await expect(check(async () => ({ ...KILLED, timedOut: true }))).rejects.toMatchObject({
      code: 'failed',
    });
  });

  it.each(['EAGAIN', 'ENOMEM', 'EMFILE', 'ENFILE'])(
    'for which there is no process or memory (%s) does not either',
    async (startError) => {
      await expect(check(async () => ({ ...KILLED, signal: undefined, startError }))).rejects.toMatchObject({
        code: 'failed',
        message: `${program} --version cannot be executed (${startError})`,
      });
    },
  );

  it('of one that may not be executed is a matter of the configuration', async () => {
    const refused = async (): Promise<CommandResult> => ({
      ...KILLED,
      signal: undefined,
      startError: 'EACCES',
    });
    await expect(check(refused)).rejects.toMatchObject({ code: 'usage' });
  });

  it('that finds none is a matter of the configuration', async () => {
    await expect(check(async () => ({ ...KILLED, signal: undefined, notFound: true }))).rejects.toMatchObject(
      {
        code: 'usage',
      },
    );
  });
});

describe('a restic', () => {
  it.each([
    ['0.14.0', false],
    ['0.16.5', false],
    ['0.17.0', false],
    ['0.17', false],
    ['0.17.1', true],
    ['0.17.1-dev', true],
    ['0.18.0', true],
    ['1.0.0', true],
  ])('%s tells of an attribute that it could not set: %s', async (version, expected) => {
    const answer = {
      ...KILLED,
      signal: undefined,
      exitCode: 0,
      stdout: `restic ${version} compiled with go1.24\n`,
    };
    expect(await new ResticRepository(async () => answer, 'a repository', []).tellsOfAttributes()).toBe(
      expected,
    );
  });
});
