import { existsSync, readdirSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { describeFailure, runCommand, type CommandOptions } from '../../../src/system/run-command.js';

const INSTALLED = '/usr/lib/postgresql';
const USER = 'postgres';
const LIMIT_MS = 120_000;

/** Durable as by default; checkpoints as often as they may be, so that snapshots fall into some. */
const SETTINGS = [
  'fsync=on',
  'synchronous_commit=on',
  'full_page_writes=on',
  'listen_addresses=',
  'checkpoint_timeout=30s',
  'max_wal_size=64MB',
  'min_wal_size=32MB',
  'shared_buffers=16MB',
];

/** The programs of the newest PostgreSQL that Debian installed here; undefined without one. */
export function findPostgresql(): string | undefined {
  if (!existsSync(INSTALLED)) return undefined;
  const versions = readdirSync(INSTALLED)
    .filter((version) => existsSync(path.join(INSTALLED, version, 'bin/postgres')))
    .map(Number);
  return versions.length === 0 ? undefined : path.join(INSTALLED, String(Math.max(...versions)), 'bin');
}

async function mustRun(argv: [string, ...string[]], options: CommandOptions = {}): Promise<void> {
  const result = await runCommand(argv, { cwd: '/', timeoutMs: LIMIT_MS, ...options });
  if (result.exitCode !== 0)
    throw new Error(`${describeFailure(argv.join(' '), result)}\n${result.stdout.slice(-2000)}`);
}

/** A server on a data directory, run by an unprivileged user, reached through a socket in a directory of its own. */
export class PostgresqlServer {
  readonly bin: string;
  readonly #data: string;
  readonly #sockets: string;
  #isStarted = false;

  /** `sockets`: made when it starts, not long, and outside of what is frozen: its log lies there too. */
  constructor(data: string, sockets: string) {
    const bin = findPostgresql();
    if (bin === undefined) throw new Error('PostgreSQL is not installed');
    this.bin = bin;
    this.#data = data;
    this.#sockets = sockets;
  }

  get #connection(): string[] {
    return ['-h', this.#sockets, '-U', USER];
  }

  async #asOwner(argv: readonly string[]): Promise<void> {
    await mustRun(['setpriv', `--reuid=${USER}`, `--regid=${USER}`, '--init-groups', ...argv]);
  }

  /** Makes the data directory, with checksums on its pages. */
  async initialise(): Promise<void> {
    await mkdir(this.#data, { mode: 0o700 });
    await mustRun(['chown', USER, this.#data]);
    await this.#asOwner([
      path.join(this.bin, 'initdb'),
      '-D',
      this.#data,
      '-U',
      USER,
      '--auth=trust',
      '--data-checksums',
      '--no-locale',
      '-E',
      'UTF8',
    ]);
  }

  /** Starts it and waits until it has recovered and answers. */
  async start(): Promise<void> {
    await mkdir(this.#sockets, { recursive: true });
    await mustRun(['chown', USER, this.#sockets]);
    const settings = [...SETTINGS, `unix_socket_directories=${this.#sockets}`];
    this.#isStarted = true;
    await this.#asOwner([
      path.join(this.bin, 'pg_ctl'),
      'start',
      '--wait',
      '--silent',
      '-D',
      this.#data,
      '-l',
      path.join(this.#sockets, 'log'),
      '-o',
      settings.map((setting) => `-c ${setting}`).join(' '),
    ]);
  }

  /** Runs SQL and returns the lines of its answer, columns separated by `|`. */
  async query(sql: string): Promise<string[]> {
    const lines: string[] = [];
    await mustRun(
      [path.join(this.bin, 'psql'), ...this.#connection, '-X', '-At', '-v', 'ON_ERROR_STOP=1', 'postgres'],
      { input: sql, onStdoutLine: (line) => lines.push(line) },
    );
    return lines;
  }

  /** The command line of one of its client programs, for the database `postgres`. */
  client(program: string, ...args: string[]): [string, ...string[]] {
    return [path.join(this.bin, program), ...this.#connection, ...args, 'postgres'];
  }

  /** Ends it without a checkpoint. Idempotent. */
  async stop(): Promise<void> {
    if (!this.#isStarted) return;
    this.#isStarted = false;
    // It did not start, or has died.
    if (!existsSync(path.join(this.#data, 'postmaster.pid'))) return;
    await this.#asOwner([
      path.join(this.bin, 'pg_ctl'),
      'stop',
      '--wait',
      '--silent',
      '--mode=immediate',
      '-D',
      this.#data,
    ]);
    await rm(this.#sockets, { recursive: true });
  }
}
