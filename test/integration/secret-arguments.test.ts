import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { secretFile, tarCommandTarget } from '../support/repositories.js';
import { textBelow, watchArguments } from '../support/secret-watch.js';

const SECRET = 'correct-horse-battery';
/** borg derives a key each time that it starts. */
const LONG_MS = 300_000;

const NEEDS = ['root', 'program:borg', 'program:strace', 'program:tar', 'program:zstd'] as const;

/** Everybody on the host can read the arguments of a process. */
describeNeeding(NEEDS, 'the arguments of processes', () => {
  let directory: string;
  let config: string;
  let key: string;
  let cli: FsbackupCli;

  beforeEach(async () => {
    directory = await mkdtemp(path.join(os.tmpdir(), 'secret-arguments-'));
    config = path.join(directory, 'config.yaml');
    key = secretFile(path.join(directory, 'keys', 'key'), SECRET);
    await mkdir(path.join(directory, 'source'));
    await writeFile(path.join(directory, 'source', 'random'), randomBytes(100_000));
    cli = new FsbackupCli(directory);
  });
  afterEach(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  async function configure(target: object): Promise<void> {
    const sources = [{ path: path.join(directory, 'source'), snapshot: 'none' }];
    const jobs = { srv: { sources, targets: [target] } };
    await writeFile(config, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
  }

  /** Runs a command of fsbackup that is to succeed: all arguments that were seen meanwhile, and what it said. */
  async function watched(...args: string[]): Promise<string[]> {
    const { started, ended, seen } = await watchArguments(cli, directory, ...args, '--config', config);
    expect(ended, started.output).toBe(0);
    expect(started.output).not.toContain(SECRET);
    return seen;
  }

  /** How many of the arguments are of a program: it must have been seen for that to show anything. */
  function countOf(program: RegExp, seen: readonly string[]): number {
    return seen.filter((line) => program.test(line)).length;
  }

  /** Where the secret is and should not be. */
  async function leaksIn(seen: readonly string[]): Promise<string[]> {
    const state = await textBelow(path.join(directory, 'state'));
    return [...seen, state].filter((text) => text.includes(SECRET));
  }

  it(
    'have no secret of a repository of borg, whatever is done with it',
    async () => {
      await configure({
        engine: 'borg',
        repository: path.join(directory, 'repository'),
        initialise: true,
        password: { file: key },
        environment: { BORG_BASE_DIR: path.join(directory, 'borg') },
      });
      const seen = await watched('run');
      seen.push(...(await watched('backups', 'verify', 'srv', '--full')));
      seen.push(...(await watched('restore', 'srv', '--to', path.join(directory, 'out'), 'rand*')));
      for (const program of [/borg\0.*\0create\0/, /borg\0.*\0check\0/, /borg\0.*\0extract\0/])
        expect(countOf(program, seen)).toBeGreaterThan(0);
      expect(await leaksIn(seen)).toEqual([]);
    },
    LONG_MS,
  );

  it(
    'have no secret that the commands of a target are given',
    async () => {
      const given = path.join(directory, 'given');
      await mkdir(given);
      const { repository } = tarCommandTarget(given);
      const script = 'printf %s "$TOKEN" >"$2/seen"; cat >"$1"; sleep 0.2';
      const write = ['sh', '-ec', script, 'sh', path.join(given, '{name}.tar.zst'), given];
      await configure({
        engine: 'tar',
        repository: 'offsite',
        commands: { ...repository?.commands, write },
        environment: { TOKEN: { command: ['cat', key] } },
      });
      const seen = await watched('run');
      expect(countOf(/^sh\0-ec\0printf/, seen)).toBeGreaterThan(0);
      expect(await leaksIn(seen)).toEqual([]);
      // It did have it.
      expect(await readFile(path.join(given, 'seen'), 'utf8')).toBe(SECRET);
    },
    LONG_MS,
  );
});
