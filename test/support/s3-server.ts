import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import process from 'node:process';
import { freePort, listening } from './ssh-server.js';

const PROJECT = path.resolve(import.meta.dirname, '../..');

/** The keys of an account. */
export interface S3Keys {
  id: string;
  secret: string;
}

/**
 * An S3 server of the test's own on the loopback, in a process that can be killed, and started again on what it stored.
 * It is s3rver, kept up to date by those who forked it (4.x is for Node 20, 5 wants 24): Debian's rclone is built without
 * `serve s3`, and what Debian has of servers (Ceph, Swift) is a cluster.
 */
export class S3Server {
  readonly #directory: string;
  readonly #port: number;
  readonly #keys: S3Keys;
  #child: ChildProcess | undefined;

  private constructor(directory: string, port: number, keys: S3Keys) {
    this.#directory = directory;
    this.#port = port;
    this.#keys = keys;
  }

  /** One that keeps its objects below `directory`, which may be made. */
  static async start(directory: string, keys: S3Keys): Promise<S3Server> {
    const server = new S3Server(directory, await freePort(), keys);
    await server.again();
    return server;
  }

  /** As restic names a repository in its bucket. */
  get repository(): string {
    return `s3:http://127.0.0.1:${this.#port}/bucket/srv`;
  }

  /** Starts it again, once it was killed, at the same port. */
  async again(): Promise<void> {
    const program = ['--import', 'tsx', 'test/support/s3-server-program.ts'];
    this.#child = spawn(process.execPath, [...program, this.#directory, String(this.#port)], {
      cwd: PROJECT,
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { PATH: process.env['PATH'], S3_KEY_ID: this.#keys.id, S3_SECRET_KEY: this.#keys.secret },
    });
    await listening(this.#port, this.#child);
  }

  /** Kills it, as a crash does. Idempotent. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }
}
