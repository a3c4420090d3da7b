import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCommand } from '../../src/system/run-command.js';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';

/** What is typed, its last word to be completed, and what that can be, sorted. */
const CASES: readonly (readonly [typed: string, offered: readonly string[]])[] = [
  ['fsbackup r', ['recover', 'reset', 'restore', 'run']],
  ['fsbackup backups v', ['verify']],
  ['fsbackup schedule ', ['install', 'remove', 'status']],
  ['fsbackup backups verify --d', ['--drill', '--drill-directory']],
  ['fsbackup backups verify srv --full --all', ['--all-targets']],
  ['fsbackup run --engine re', ['restic']],
  ['fsbackup run --engine=re', ['restic']],
  ['fsbackup completion z', ['zsh']],
  ['fsbackup run --config in', ['in a directory', 'in a file']],
  ['fsbackup run --to in', ['in a directory']],
  ['fsbackup freeze in', ['in a directory']],
  ['fsbackup run --job in', []],
  ['fsbackup run in', []],
];

describe('the completion of shells', () => {
  let directory: string;
  let cli: FsbackupCli;

  beforeAll(async () => {
    directory = await mkdtemp(path.join(os.tmpdir(), 'completion-'));
    cli = new FsbackupCli(directory);
    await mkdir(path.join(directory, 'in a directory'));
    await writeFile(path.join(directory, 'in a file'), '');
  });
  afterAll(() => rm(directory, { recursive: true }));

  async function scriptFor(shell: string): Promise<string> {
    const { exitCode, stdout, stderr } = await cli.run('completion', shell);
    expect([exitCode, stderr]).toEqual([0, '']);
    const file = path.join(directory, `script.${shell}`);
    await writeFile(file, stdout);
    return file;
  }

  async function must(...argv: [string, ...string[]]): Promise<string> {
    const { exitCode, stdout, stderr } = await runCommand(argv, { cwd: directory, timeoutMs: 60_000 });
    expect([exitCode, stderr]).toEqual([0, '']);
    return stdout;
  }

  it('is of one of three shells', async () => {
    const { exitCode, stderr } = await cli.run('completion', 'tcsh');
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining('bash, zsh, fish')]);
  });

  describe('bash', () => {
    it.each(CASES)('completes %j', async (typed, expected) => {
      const script = await scriptFor('bash');
      // readline breaks words at `=`, too.
      const words = typed
        .split(' ')
        .flatMap((word) => word.split(/(=)/).filter((part, at) => part !== '' || at === 0));
      const run = `source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _fsbackup; printf '%s\\n' "\${COMPREPLY[@]}"`;
      const said = await must('bash', '-c', run, 'bash', script, ...words);
      const found = said.split('\n').filter((line) => line !== '');
      expect(found.toSorted()).toEqual(expected);
    });

    it('is set up for the program by its name', async () => {
      const said = await must(
        'bash',
        '-c',
        'source "$1"; complete -p fsbackup',
        'bash',
        await scriptFor('bash'),
      );
      expect(said.trim()).toBe('complete -F _fsbackup fsbackup');
    });
  });

  describeNeeding(['program:fish'], 'fish', () => {
    it.each(CASES)('completes %j', async (typed, expected) => {
      const run = 'source $argv[1]; complete --do-complete=$argv[2]';
      const said = await must('fish', '--no-config', '-c', run, await scriptFor('fish'), typed);
      const found = said.split('\n').flatMap((line) => {
        const [word = ''] = line.split('\t');
        // A directory has its slash, and a flag with its value is offered with both.
        return word === '' ? [] : [word.replace(/\/$/, '').replace(/^--engine=/, '')];
      });
      expect(found.toSorted()).toEqual(expected);
    });
  });

  describeNeeding(['program:zsh'], 'zsh', () => {
    // Beside compsys, which wants a terminal, what it is asked for.
    const STUBS = `
      compdef() { }
      _describe() { print -rl -- "\${(@P)4%%:*}"; }
      _arguments() { print -rl -- "at $CURRENT of $words" "$@"; }`;

    async function asked(typed: string): Promise<string[]> {
      const run = `${STUBS}; source "$1"; shift; words=("$@"); CURRENT=$#; _fsbackup`;
      const said = await must('zsh', '-f', '-c', run, 'zsh', await scriptFor('zsh'), ...typed.split(' '));
      return said.split('\n').filter((line) => line !== '');
    }

    it('offers commands, and those of a topic', async () => {
      expect(await asked('fsbackup ')).toEqual(expect.arrayContaining(['backups', 'run', 'thaw']));
      expect(await asked('fsbackup schedule ')).toEqual(['install', 'remove', 'status']);
    });

    it('has the flags of a command completed, from behind that on', async () => {
      const specs = await asked('fsbackup backups verify srv --f');
      expect(specs[0]).toBe('at 3 of fsbackup srv --f');
      expect(specs).toContain('--full[Read every byte back and compare it.]');
      expect(specs.find((spec) => spec.startsWith('--config='))).toMatch(/:FILE:_files$/);
      expect(specs.find((spec) => spec.startsWith('--engine='))).toMatch(/:NAME:\(rsync tar .*zfs-send\)$/);
      expect(specs.at(-1)).toBe('*:BACKUP: ');
      expect((await asked('fsbackup freeze ')).at(-1)).toBe('*:MOUNTPOINT:_files -/');
    });
  });
});
