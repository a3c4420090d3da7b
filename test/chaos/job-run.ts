import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { monotonicMs } from './load/load.js';

/** How a process ended. */
export interface Ending {
  exitCode: number | null;
  signal: NodeJS.Signals | null;
  beginMs: number;
  endMs: number;
}

/** A process that runs beside the test, in a session of its own. */
export class JobRun {
  stdout = '';
  stderr = '';
  readonly child: ChildProcess;
  readonly beginMs = monotonicMs();
  readonly #ended: Promise<unknown>;

  constructor(argv: readonly [string, ...string[]], env: Readonly<Record<string, string>>) {
    const [file, ...args] = argv;
    this.child = spawn(file, args, {
      cwd: '/',
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
      env: { PATH: process.env['PATH'], ...env },
    });
    this.#ended = once(this.child, 'exit');
    this.child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      this.stdout += chunk;
    });
    this.child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      this.stderr += chunk;
    });
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  get hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  async whenEnded(): Promise<void> {
    await this.#ended;
  }

  /** Waits for its end; kills it and rejects when that takes longer than `limitMs`. */
  async ended(limitMs: number): Promise<Ending> {
    const isLate = await Promise.race([this.#ended.then(() => false), sleep(limitMs, true, { ref: false })]);
    if (isLate && !this.hasEnded) {
      this.child.kill('SIGKILL');
      throw new Error(
        `it did not end within ${limitMs} ms: ${this.stdout.slice(-2000)}${this.stderr.slice(-2000)}`,
      );
    }
    // Its last output, which a grandchild that holds the pipe open is not to delay.
    await sleep(0);
    const { exitCode, signalCode: signal } = this.child;
    return { exitCode, signal, beginMs: this.beginMs, endMs: monotonicMs() };
  }
}
