import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { runCommand, type CommandResult } from '../src/system/run-command.js';
import { ThrowawayDisks, type ThrowawayFilesystem } from '../test/support/throwaway-filesystem.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
export const CLI = `${ROOT}bin/run.js`;
const TSX = `${ROOT}node_modules/tsx/dist/esm/index.mjs`;
const LIMIT_MS = 900_000;

/** A write that was held up, in ms of the clock of `performance.now()` in any process: CLOCK_MONOTONIC. */
export interface Stall {
  beginMs: number;
  endMs: number;
}

/** CLOCK_MONOTONIC in ms: comparable between processes. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** An independent process that writes to a filesystem and notes how long each write takes. */
export class StallWriter {
  readonly stalls: Stall[] = [];
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(file: string): Promise<StallWriter> {
    const program = fileURLToPath(new URL('stall-writer.ts', import.meta.url));
    const child = spawn(process.execPath, ['--import', TSX, program, file], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const writer = new StallWriter(child);
    let partial = '';
    child.stdout.setEncoding('utf8');
    await new Promise<void>((resolve) => {
      child.stdout.on('data', (chunk: string) => {
        const lines = (partial + chunk).split('\n');
        partial = lines.pop() ?? '';
        for (const line of lines) {
          const [begin, end] = line.split(' ');
          if (line === 'ready') resolve();
          else writer.stalls.push({ beginMs: Number(begin) / 1e6, endMs: Number(end) / 1e6 });
        }
      });
    });
    return writer;
  }

  /** The longest stall that ended after `sinceMs`. */
  longest(sinceMs: number): number {
    return Math.max(
      0,
      ...this.stalls.filter((stall) => stall.endMs > sinceMs).map((stall) => stall.endMs - stall.beginMs),
    );
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    await once(this.#child, 'exit');
  }
}

/** ext4 in an image on XFS, both on loop devices, and an fsbackup with state of its own. */
export interface BenchWorld {
  disks: ThrowawayDisks;
  outer: ThrowawayFilesystem;
  inner: ThrowawayFilesystem;
  environment: Record<string, string>;
}

/** Makes a world, runs `use` in it, and takes it down whatever becomes of that. */
export async function inWorld<T>(
  use: (world: BenchWorld) => Promise<T>,
  { sizeMiB = 1536 }: { sizeMiB?: number } = {},
): Promise<T> {
  const disks = new ThrowawayDisks();
  try {
    const outer = await disks.filesystem({ fstype: 'xfs', sizeMiB: 2 * sizeMiB + 1024 });
    const inner = await disks.filesystem({ fstype: 'ext4', sizeMiB, on: outer });
    const environment = {
      FSBACKUP_RUN_DIR: `${disks.directory}/run`,
      FSBACKUP_STATE_DIR: `${disks.directory}/state`,
    };
    return await use({ disks, outer, inner, environment });
  } finally {
    await disks.dispose();
  }
}

/** Runs a program of the bench and throws unless it exits 0. */
export async function mustRun(
  argv: readonly [string, ...string[]],
  environment: Readonly<Record<string, string>> = {},
): Promise<CommandResult> {
  const result = await runCommand(argv, { env: environment, cwd: '/', timeoutMs: LIMIT_MS });
  if (result.exitCode !== 0) {
    throw new Error(
      `${argv.join(' ')} ended with ${result.exitCode ?? result.signal ?? 'nothing'}: ${result.stderr}`,
    );
  }
  return result;
}

/** How long `work` takes, in ms. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await work();
  return performance.now() - begun;
}
