import { createHash } from 'node:crypto';
import { access, mkdir, open, rmdir } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf, FsbackupError } from '../../errors.js';
import { ensurePrivateDirectory, runDirectory } from '../../system/directories.js';
import { isMountedAt, unmount } from '../../system/mount.js';
import { describeFailure, type CommandOptions, type CommandResult } from '../../system/run-command.js';
import { showReadOnly } from '../../system/show-read-only.js';
import type { Mounting, MountRequest } from '../engine.js';

/** A program that shows backups by FUSE. */
export interface FuseProgram {
  /** For people. */
  name: string;
  /** Runs it in the foreground, mounting at `stage`; resolves when it ends. */
  serve(stage: string, options: CommandOptions): Promise<CommandResult>;
  /** Where the backup is in what it shows, relative. */
  inside: string;
  /** What is missing when it says that it cannot mount at all; undefined: it is another failure. */
  lacks(result: CommandResult): string | undefined;
}

const DEVICE = '/dev/fuse';
/** A program opens its repository, and reads its index, before it mounts. */
const START_LIMIT_MS = 5 * 60_000;
const POLL_MS = 200;
/** From its mount's end to the program's. */
const END_LIMIT_MS = 15_000;

/** Where the program mounts: root alone can go there, and the backup is shown at its directory from there. */
function stageOf(directory: string): string {
  const name = createHash('sha256').update(directory).digest('hex').slice(0, 16);
  return path.join(runDirectory(), 'served', name);
}

/** Whether this machine, or container, has FUSE. */
export async function hasFuse(): Promise<boolean> {
  try {
    // In a container it may be there, and be refused.
    await (await open(DEVICE, 'r+')).close();
    return true;
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return false;
  }
}

async function requireFuse(name: string): Promise<void> {
  try {
    await access(DEVICE);
  } catch (error) {
    throw new FsbackupError('usage', `${name} cannot mount: this machine has no FUSE (no ${DEVICE})`, {
      hint: 'Load its module (modprobe fuse); give a container the device. Or restore what you need with --to DIR.',
      cause: error,
    });
  }
}

/** Ends what a program shows for a directory, and so the program. Idempotent. Rejects with `cleanupIncomplete`. */
export async function releaseServed(directory: string): Promise<void> {
  const stage = stageOf(directory);
  await unmount(stage);
  await rmdir(stage).catch((error: unknown) => {
    if (errnoOf(error) !== 'ENOENT') throw error;
  });
}

/** A program that did not come to show anything: it cannot, here. */
export class NotShownError extends FsbackupError {
  constructor(message: string, hint: string) {
    super('failed', message, { hint });
    this.name = 'NotShownError';
  }
}

function brokeOff(program: FuseProgram, result: CommandResult): FsbackupError {
  const lacks = program.lacks(result);
  return new FsbackupError('failed', `the mount broke off: ${describeFailure(program.name, result)}`, {
    hint: lacks ?? 'See what it says, and mount it again.',
  });
}

class Server {
  readonly #stop = new AbortController();
  readonly #stage: string;
  readonly #end: Promise<CommandResult>;
  ended: CommandResult | undefined;

  constructor(program: FuseProgram, stage: string) {
    this.#stage = stage;
    this.#end = this.#run(program);
    // Whoever asks for it is told; nobody may come to ask.
    this.#end.catch(() => undefined);
  }

  async #run(program: FuseProgram): Promise<CommandResult> {
    const result = await program.serve(this.#stage, { signal: this.#stop.signal });
    this.ended = result;
    return result;
  }

  /** Whether it has come to show something; false when it ended before. */
  async shows(signal: AbortSignal): Promise<boolean> {
    const deadline = performance.now() + START_LIMIT_MS;
    while (!(await isMountedAt(this.#stage))) {
      signal.throwIfAborted();
      if (this.ended !== undefined || performance.now() > deadline) return false;
      await Promise.race([this.#end, sleep(POLL_MS)]);
    }
    return true;
  }

  /** Its end, which its mount's end brings about; else by a signal. */
  async end(): Promise<CommandResult> {
    const late = setTimeout(() => this.#stop.abort(), END_LIMIT_MS);
    try {
      return await this.#end;
    } finally {
      clearTimeout(late);
    }
  }

  stop(): void {
    this.#stop.abort();
  }
}

/**
 * Runs `work` with the directory in which a program shows a backup by FUSE, at `stage`, which is made and removed. An abort ends
 * the program, and so whatever waits for it. Rejects as `work` does, and with a `NotShownError`.
 */
export async function whileServed<T>(
  program: FuseProgram,
  stage: string,
  signal: AbortSignal,
  work: (shown: string) => Promise<T>,
): Promise<T> {
  await mkdir(stage, { mode: 0o700 });
  const server = new Server(program, stage);
  const stop = (): void => server.stop();
  signal.addEventListener('abort', stop);
  try {
    if (!(await server.shows(signal))) {
      server.stop();
      const { message, hint } = brokeOff(program, await server.end());
      throw new NotShownError(message, hint ?? '');
    }
    return await work(path.join(stage, program.inside));
  } finally {
    signal.removeEventListener('abort', stop);
    await unmount(stage);
    await server.end();
    await rmdir(stage);
  }
}

async function show(
  server: Server,
  source: string,
  { directory, signal, onMounted }: MountRequest & { onMounted: () => void },
): Promise<'unmounted' | 'broken'> {
  if (!(await server.shows(signal))) return 'broken';
  await showReadOnly(source, directory);
  onMounted();
  while (server.ended === undefined && !signal.aborted) {
    if (!(await isMountedAt(directory))) return 'unmounted';
    await sleep(POLL_MS);
  }
  // Unmounted in the end, as by somebody who ended the program too: nothing is broken.
  return signal.aborted || !(await isMountedAt(directory)) ? 'unmounted' : 'broken';
}

/** How an engine shows its backups whose program does it by FUSE: `program` makes one for a backup. */
export function byFuse(program: (dataDirectory: string) => Promise<FuseProgram>): Mounting {
  return {
    kind: 'process',
    async serve(request) {
      const { directory, dataDirectory, signal } = request;
      const made = await program(dataDirectory);
      await requireFuse(made.name);
      const stage = stageOf(directory);
      // Of one that died.
      await releaseServed(directory);
      await ensurePrivateDirectory(path.dirname(stage));
      await mkdir(stage, { mode: 0o700 });
      const server = new Server(made, stage);
      try {
        const how = await show(server, path.join(stage, made.inside), request);
        await unmount(directory);
        await releaseServed(directory);
        const result = await server.end();
        if (how === 'broken') throw brokeOff(made, result);
        signal.throwIfAborted();
      } catch (error) {
        server.stop();
        await server.end();
        throw error;
      }
    },
  };
}
