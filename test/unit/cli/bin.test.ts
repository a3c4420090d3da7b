import { spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = path.join(import.meta.dirname, '../../..');

/** The built program, as installed; the build goes before the tests. */
function fsbackup(
  argv: readonly string[],
  stdout: 'pipe' | number = 'pipe',
  env: Readonly<Record<string, string>> = {},
): ReturnType<typeof spawnSync> {
  return spawnSync(process.execPath, [path.join(ROOT, 'bin/run.js'), ...argv], {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['ignore', stdout, 'pipe'],
    timeout: 60_000,
  });
}

describe('bin/run.js', () => {
  it('ends a parse error with exit 2, two lines on stderr and one JSON object on stdout', () => {
    const { status, stdout, stderr } = fsbackup(['config', 'show', '--json', '--confg', 'x']);
    expect(status).toBe(2);
    expect(stderr).toBe(
      'Error: Nonexistent flag: --confg\nDid you mean --config? `fsbackup config show --help` shows what it takes.\n',
    );
    expect(JSON.parse(String(stdout))).toMatchObject({ version: 1, error: { code: 'usage', exitCode: 2 } });
  });

  it('ends an unknown command with exit 2 and two lines', () => {
    const { status, stdout, stderr } = fsbackup(['config', 'shwo']);
    expect({ status, stdout, stderr }).toEqual({
      status: 2,
      stdout: '',
      stderr: 'Error: There is no command "config shwo"\nDid you mean `fsbackup config show`?\n',
    });
  });

  it('takes no argument from its standard input, which is the rest of a script or the list of a loop', () => {
    const manifest = JSON.parse(readFileSync(path.join(ROOT, 'oclif.manifest.json'), 'utf8')) as {
      commands: Record<string, { args: Record<string, unknown> }>;
    };
    const taking = Object.entries(manifest.commands).filter(([, { args }]) => Object.keys(args).length > 0);
    expect(taking.map(([id]) => id)).toContain('run');
    const scratch = mkdtempSync(path.join(tmpdir(), 'stdin-'));
    // Each reads what is left after the one before; those that are started with all they need take a bad configuration.
    const program = `${taking
      .map(
        ([id]) =>
          `"$@" ${id.replaceAll(':', ' ')}${id === 'config:init' ? '' : ' --json'} && echo "${id} went well"`,
      )
      .join('\n')}\nread -r line; echo "left: $line"`;
    try {
      const { stdout, stderr } = spawnSync(
        'sh',
        ['-c', program, 'sh', process.execPath, path.join(ROOT, 'bin/run.js')],
        {
          encoding: 'utf8',
          input: 'a-word-of-the-list\n',
          env: {
            PATH: process.env['PATH'],
            FSBACKUP_CONFIG: path.join(scratch, 'none.yaml'),
            FSBACKUP_RUN_DIR: path.join(scratch, 'run'),
            FSBACKUP_STATE_DIR: path.join(scratch, 'state'),
          },
          timeout: 120_000,
        },
      );
      expect(stderr).not.toContain('a-word-of-the-list');
      expect(stdout).toContain('left: a-word-of-the-list');
    } finally {
      rmSync(scratch, { recursive: true });
    }
  }, 130_000);

  it('ends an error of its own with its exit code', () => {
    const { status, stderr } = fsbackup(['config', 'show', '--config', '/nonexistent/config.yaml']);
    expect(status).toBe(2);
    expect(stderr).toContain('There is no configuration file /nonexistent/config.yaml');
  });

  it('ends what is thrown outside of every promise as a bug', () => {
    const program = `
      import { BaseCommand } from './src/base-command.ts';
      class Late extends BaseCommand {
        async run() {
          await this.parse(Late);
          setTimeout(() => { throw new Error('late'); }, 1);
          await new Promise((resolve) => setTimeout(resolve, 60_000));
        }
      }
      await Late.run([], process.cwd());`;
    const { status, stderr } = spawnSync(
      process.execPath,
      ['--import=tsx', '--input-type=module', '--eval', program],
      {
        cwd: ROOT,
        encoding: 'utf8',
        env: { PATH: process.env['PATH'] },
        timeout: 60_000,
      },
    );
    expect({ status, stderr }).toEqual({
      status: 70,
      stderr: expect.stringMatching(/^Error: a bug in fsbackup: late\n.*\n$/),
    });
  });

  it.each([
    ['a full disk', '/dev/full', 'w'],
    // Nothing is mapped at its beginning, so writing there is EIO, as on a disk that is broken.
    ['a broken disk', '/proc/self/mem', 'r+'],
  ])('fails when its output cannot be written: %s', (_, file, mode) => {
    const output = openSync(file, mode);
    try {
      expect(fsbackup(['config', 'schema'], output)).toMatchObject({
        status: 1,
        stderr: expect.stringContaining('cannot write the output'),
      });
    } finally {
      closeSync(output);
    }
  });

  it('loads no plugin from the home directory, which with sudo may be that of another user', () => {
    const home = mkdtempSync(path.join(tmpdir(), 'fsbackup-home-'));
    try {
      const data = path.join(home, '.local/share/fsbackup');
      const plugin = path.join(data, 'node_modules/intruder');
      mkdirSync(plugin, { recursive: true });
      const plugins = [{ name: 'intruder', type: 'user', tag: 'latest' }];
      const packages = {
        [data]: { name: 'fsbackup', oclif: { schema: 1, plugins }, dependencies: { intruder: '1.0.0' } },
        [plugin]: { name: 'intruder', version: '1.0.0', oclif: { hooks: { init: './hook.js' } } },
      };
      for (const [directory, contents] of Object.entries(packages)) {
        writeFileSync(path.join(directory, 'package.json'), JSON.stringify(contents));
      }
      const hook = `module.exports = async () => require('node:fs').writeFileSync(${JSON.stringify(path.join(home, 'loaded'))}, '');`;
      writeFileSync(path.join(plugin, 'hook.js'), hook);
      expect(fsbackup(['config', 'schema'], 'pipe', { HOME: home })).toMatchObject({ status: 0, stderr: '' });
      expect(existsSync(path.join(home, 'loaded'))).toBe(false);
    } finally {
      rmSync(home, { recursive: true });
    }
  });

  it('lists the exit codes in its help', () => {
    const { status, stdout } = fsbackup(['--help']);
    expect(status).toBe(0);
    expect(stdout).toMatch(/EXIT CODES\n {2}0 +done\n/);
    expect(stdout).toMatch(/ 22 +thaw failed: may still be frozen\n/);
    expect(fsbackup(['config', 'show', '--help']).stdout).toContain('EXIT CODES');
    expect(fsbackup(['config', 'show', '-h']).stdout).toContain('EXIT CODES');
  });
});
