import { Args, Flags } from '@oclif/core';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { BaseCommand } from '../../../src/base-command.js';
import { ConfigError } from '../../../src/config/problems.js';
import { FsbackupError } from '../../../src/errors.js';
import { jsonFlag } from '../../../src/flags.js';
import { runCommandClass } from '../../support/run-command-class.js';

/** Does what its flags tell it to. */
class Sample extends BaseCommand {
  static override id = 'sample:command';
  static override args = { mountpoint: Args.string({ required: true }) };
  static override flags = {
    json: jsonFlag,
    engine: Flags.string({ options: ['rsync', 'tar'] }),
    count: Flags.integer(),
    end: Flags.string(),
    own: Flags.string({
      parse: () => Promise.reject(new FsbackupError('usage', 'It is not a duration', { hint: 'Write 10s.' })),
    }),
  };
  static override strict = false;

  async run(): Promise<void> {
    const { flags } = await this.parse(Sample);
    if (flags.end === 'error') throw new FsbackupError('freezeLost', 'It was lost', { hint: 'Try again.' });
    if (flags.end === 'name') {
      throw new FsbackupError('usage', '/srv/\u001B]0;owned\u0007\u009B2J is a symlink', { hint: 'See.' });
    }
    if (flags.end === 'lines') {
      const below = ['30 2 * * * root one', 'two'];
      throw new FsbackupError('failed', 'a\nb', { hint: 'Write\nthis:', below });
    }
    if (flags.end === 'config') {
      const place = { file: '/etc/x', column: 1, path: 'jobs.a\nb' };
      throw new ConfigError([
        { ...place, line: 1, message: 'one' },
        { ...place, line: 2, message: 'two' },
      ]);
    }
    if (flags.end === 'bug') throw new TypeError('x is not a function');
    if (flags.end === 'nothing') throw undefined as unknown as Error;
    if (flags.end === 'warnings') this.exit(3);
    if (flags.json) this.printJson({ version: 1 });
    else this.print('done');
  }
}

/** As Sample, but knows no --json. */
class Plain extends BaseCommand {
  static override id = 'plain';

  async run(): Promise<void> {
    await this.parse(Plain);
  }
}

beforeEach(() => {
  for (const name of ['NO_COLOR', 'FORCE_COLOR', 'DEBUG']) vi.stubEnv(name, undefined);
});

afterEach(() => {
  vi.unstubAllEnvs();
});

describe('a flag that takes no value', () => {
  it('is refused with one, which would be taken for an argument', async () => {
    await expect(runCommandClass(Sample, ['/srv', '--json=no'])).resolves.toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('Error: --json takes no value, and was given one: --json=no'),
    });
    await expect(runCommandClass(Sample, ['/srv', '--engine=tar'])).resolves.toMatchObject({ exitCode: 0 });
  });
});

describe('a command that ends well', () => {
  it('exits 0 with its text, or with one JSON document', async () => {
    await expect(runCommandClass(Sample, ['/srv'])).resolves.toEqual({
      exitCode: 0,
      stdout: 'done\n',
      stderr: '',
    });
    const { stdout } = await runCommandClass(Sample, ['/srv', '--json']);
    expect(JSON.parse(stdout)).toEqual({ version: 1 });
  });

  it('exits with the code it asks for, and says nothing', async () => {
    await expect(runCommandClass(Sample, ['/srv', '--end', 'warnings', '--json'])).resolves.toEqual({
      exitCode: 3,
      stdout: '',
      stderr: '',
    });
  });
});

describe('an FsbackupError', () => {
  it('gives its exit code, a line of what and a line of what to do', async () => {
    await expect(runCommandClass(Sample, ['/srv', '--end', 'error'])).resolves.toEqual({
      exitCode: 21,
      stdout: '',
      stderr: 'Error: It was lost\nTry again.\n',
    });
  });

  it('is an object on stdout too when JSON is asked for', async () => {
    const run = await runCommandClass(Sample, ['--json', '/srv', '--end', 'error']);
    expect(run).toMatchObject({ exitCode: 21, stderr: 'Error: It was lost\nTry again.\n' });
    expect(JSON.parse(run.stdout)).toEqual({
      version: 1,
      error: { code: 'freezeLost', exitCode: 21, message: 'It was lost', hint: 'Try again.' },
    });
  });

  it.each([
    ['', '/srv'],
    ['/srv', ''],
  ])('tells of an argument that is empty: %j %j', async (...argv) => {
    await expect(runCommandClass(Sample, argv)).resolves.toMatchObject({
      exitCode: 2,
      stdout: '',
      stderr: expect.stringMatching(/^Error: an argument is empty\n.* unset shell variable /) as string,
    });
  });

  it('does not let a name write to the terminal', async () => {
    await expect(runCommandClass(Sample, ['/srv', '--end', 'name'])).resolves.toMatchObject({
      stderr: 'Error: /srv/\\x1b]0;owned\\x07\\x9b2J is a symlink\nSee.\n',
    });
    const { stdout } = await runCommandClass(Sample, ['/srv', '--end', 'name', '--json']);
    expect(stdout).not.toMatch(/[^\P{Cc}\n]/u);
  });

  it('is as many lines as we wrote, whatever is in a name', async () => {
    await expect(runCommandClass(Sample, ['/srv', '--end', 'lines'])).resolves.toMatchObject({
      stderr: 'Error: a\\x0ab\nWrite\\x0athis:\n30 2 * * * root one\ntwo\n',
    });
    const { stdout } = await runCommandClass(Sample, ['/srv', '--end', 'lines', '--json']);
    expect(JSON.parse(stdout)).toMatchObject({
      error: { hint: 'Write\nthis:\n30 2 * * * root one\ntwo' },
    });
    await expect(runCommandClass(Sample, ['/srv', '--end', 'config'])).resolves.toMatchObject({
      stderr: expect.stringMatching(
        /^Error: \/etc\/x:1:1: jobs\.a\\x0ab: one\n\/etc\/x:2:1: jobs\.a\\x0ab: two\nCorrect .*\n$/,
      ) as string,
    });
  });

  it('keeps its lines when the parser of a flag throws it', async () => {
    await expect(runCommandClass(Sample, ['/srv', '--own', 'x'])).resolves.toMatchObject({
      exitCode: 2,
      stderr: 'Error: --own: It is not a duration\nWrite 10s.\n',
    });
  });

  it('is coloured when that is forced, never with NO_COLOR', async () => {
    vi.stubEnv('FORCE_COLOR', '1');
    const coloured = await runCommandClass(Sample, ['/srv', '--end', 'error']);
    expect(coloured.stderr).toContain('\u001B[31m');
    vi.stubEnv('NO_COLOR', '1');
    const plain = await runCommandClass(Sample, ['/srv', '--end', 'error']);
    expect(plain.stderr).toBe('Error: It was lost\nTry again.\n');
  });
});

describe('a bug', () => {
  it('exits 70 and asks for a report; the stack comes with DEBUG', async () => {
    const quiet = await runCommandClass(Sample, ['/srv', '--end', 'bug']);
    expect(quiet.exitCode).toBe(70);
    expect(quiet.stderr).toMatch(
      /^Error: a bug in fsbackup: x is not a function\nRun it again with DEBUG=1 .*\n$/,
    );
    vi.stubEnv('DEBUG', '1');
    const loud = await runCommandClass(Sample, ['/srv', '--end', 'bug']);
    expect(loud.stderr).toContain('base-command.test.ts');
  });

  it('is one also when what was thrown is no error', async () => {
    await expect(runCommandClass(Sample, ['/srv', '--end', 'nothing'])).resolves.toMatchObject({
      exitCode: 70,
    });
  });
});

describe('a parse error', () => {
  const help = '`fsbackup sample command --help` shows what it takes.';

  it.each([
    [[], 'Missing argument: MOUNTPOINT', help],
    [['/srv', '--engin', 'tar'], 'Nonexistent flag: --engin', `Did you mean --engine? ${help}`],
    [['/srv', '--engine', 'zip'], 'Expected --engine=zip to be one of: rsync, tar', help],
    [['/srv', '--count', 'x'], '--count: Expected an integer but received: x', help],
    [['/srv', '--end'], 'Flag --end expects a value', help],
  ])('%j exits 2 with two lines', async (argv, message, hint) => {
    await expect(runCommandClass(Sample, argv)).resolves.toEqual({
      exitCode: 2,
      stdout: '',
      stderr: `Error: ${message}\n${hint}\n`,
    });
  });

  it('names a flag that is missing as it is typed', async () => {
    class Demanding extends BaseCommand {
      static override id = 'sample:command';
      static override flags = { to: Flags.string({ required: true }) };

      override async run(): Promise<void> {
        await this.parse(Demanding);
      }
    }
    await expect(runCommandClass(Demanding, [])).resolves.toMatchObject({
      exitCode: 2,
      stderr: `Error: Missing flag: --to\n${help}\n`,
    });
  });

  it('is one JSON object on stdout, and nothing else there, when JSON is asked for', async () => {
    const run = await runCommandClass(Sample, ['--json', '--engin']);
    expect(run.exitCode).toBe(2);
    expect(JSON.parse(run.stdout)).toMatchObject({ version: 1, error: { code: 'usage', exitCode: 2 } });
  });

  it('is no JSON when --json belongs to the command after --, or is not known', async () => {
    await expect(runCommandClass(Sample, ['--engin', '--', '--json'])).resolves.toMatchObject({ stdout: '' });
    await expect(runCommandClass(Plain, ['--json'])).resolves.toMatchObject({ exitCode: 2, stdout: '' });
  });
});
