import { existsSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { execa } from 'execa';
import { errnoOf } from '../errors.js';
import { endSession } from './end-session.js';
import { OWNER_VARIABLE, ownOwnerMark } from './process-identity.js';

/** Where children are looked up, and look for others: cron's PATH lacks sbin. */
export const CHILD_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * Children see nothing of the caller's environment but this, and a mark of who started them: tools translate their
 * messages, for one.
 */
const BASE_ENVIRONMENT = {
  LC_ALL: 'C',
  PATH: CHILD_PATH,
  HOME: '/root',
} as const;

/** Standard output that is longer is not told at all: who reads it would take its end for the whole. */
const MAX_STDOUT_CHARACTERS = 64 * 1024 * 1024;
/** How much of what a child writes to stderr is kept, from its end; the rest is drained and dropped. */
const MAX_STDERR_CHARACTERS = 1024 * 1024;
/**
 * The same of standard output that nobody needs, or whose lines somebody takes: what is held for long moves to V8's old generation, which is seldom collected,
 * and of a program that tells of a million files that is all it says.
 */
const MAX_STDOUT_TAIL = 16 * 1024;

/** How a child ended. */
export interface CommandResult {
  /** Undefined when a signal ended it. */
  exitCode: number | undefined;
  signal: string | undefined;
  /** True when it could not be started for want of the program. */
  notFound: boolean;
  /** Why it could not be started, when it is there: `EAGAIN`, no process or memory left for it; `EACCES`; `ENOENT`, no `cwd`. */
  startError?: string;
  /** True when `timeoutMs` ran out. */
  timedOut: boolean;
  /** True when `signal` was aborted. */
  aborted: boolean;
  /** True when it did not take all of `stdinFrom`: even where it exited with 0, it has not seen the end of it. */
  inputCutShort?: boolean;
  /** True when it wrote more to standard output than can be kept (64 MiB): nothing of it is told, and no exit code. */
  stdoutTooLong?: boolean;
  /** All that it wrote there, or the end of it where its lines are taken or nobody needs it. */
  stdout: string;
  /** The end of what it wrote there, 1 MiB. */
  stderr: string;
}

/** Is told of one program. */
export interface CommandWatch {
  /** It runs, as the leader of this process group. */
  started(processGroup: number): void;
  /** It has ended, with all of its session if it was told to, or could not be started. Called once. */
  ended(): void;
}

export interface CommandOptions {
  /** Asked just before the program is started, so that it is known of even should we die in between. */
  watch?: () => CommandWatch;
  /** Added to the built environment. */
  env?: Readonly<Record<string, string>>;
  /** Where it works, absolute. Left out: `/`, which is always there, and keeps no filesystem busy. */
  cwd?: string;
  input?: string | Uint8Array;
  /** Read as standard input; destroyed when the child does not take it all. */
  stdinFrom?: Readable;
  /** Gets standard output, as fast as it takes it, and is ended with it. `stdout` of the result is then empty. */
  stdoutTo?: Writable;
  /**
   * When it runs out, SIGTERM to the program and all that it has started, SIGKILL 5 s later to what is left of them. It has
   * ended when nobody of its session is left.
   */
  timeoutMs?: number;
  /** As `timeoutMs`, when aborted. */
  signal?: AbortSignal;
  /**
   * The result is there at its exit, with what it had written by then, although something that it has started keeps its
   * output open: for what a freeze waits for. Else that is waited for, a second at most.
   */
  endsAtExit?: boolean;
  /** Its standard output is of no interest, however long it is. For programs that are somebody's own. */
  ignoresStdout?: boolean;
  /** Gets each line as it comes. */
  onStdoutLine?: (line: string) => void;
  /**
   * Asked after each piece of standard output: no more of it is read until what it returns resolves, which it must. For
   * whoever passes lines on to something slower than the child. Undefined: at once. What is left in the pipe (64 KiB)
   * when the child ends comes at once too.
   */
  untilTaken?: () => Promise<void> | undefined;
  /** A carriage return ends a line too, as in progress displays. */
  carriageReturns?: boolean;
  /** As `onStdoutLine`, for stderr. */
  onStderrLine?: (line: string) => void;
}

/** A grandchild may keep the pipes open after its parent's end; nobody reads of it longer than this. */
const DRAIN_MS = 1000;

/** Drains a stream: its end is kept, or all of it that is not too much; lines go to `onLine` as they come. */
class OutputCollector {
  /** In the pieces that came: to join them at each one would copy all of it every time. */
  #kept: string[] = [];
  #keptLength = 0;
  readonly #keep: number;
  readonly #isWhole: boolean;
  #isTooLong = false;
  #partial = '';
  readonly #onLine: ((line: string) => void) | undefined;
  readonly #lineEnd: RegExp;

  constructor(
    stream: Readable,
    onLine: ((line: string) => void) | undefined,
    {
      carriageReturns = false,
      untilTaken,
      keep,
      isWhole = false,
    }: Pick<CommandOptions, 'carriageReturns' | 'untilTaken'> & { keep: number; isWhole?: boolean },
  ) {
    this.#onLine = onLine;
    this.#keep = keep;
    this.#isWhole = isWhole;
    this.#lineEnd = carriageReturns ? /[\r\n]/ : /\n/;
    stream.setEncoding('utf8');
    stream.on('data', (chunk: string) => {
      this.#take(chunk);
      const taken = untilTaken?.();
      if (taken === undefined) return;
      stream.pause();
      void taken.then(() => stream.resume());
    });
    stream.on('end', () => {
      if (this.#partial !== '') this.#onLine?.(this.#partial);
    });
  }

  /** Whether there was more than is kept, where all of it is needed. */
  get isTooLong(): boolean {
    return this.#isTooLong;
  }

  get text(): string {
    return this.#kept.join('').slice(-this.#keep);
  }

  #keepMore(chunk: string): void {
    if (this.#isTooLong) return;
    this.#kept.push(chunk);
    this.#keptLength += chunk.length;
    if (this.#isWhole) {
      this.#isTooLong = this.#keptLength > this.#keep;
      if (this.#isTooLong) this.#kept = [];
      return;
    }
    while (this.#keptLength - (this.#kept[0]?.length ?? 0) >= this.#keep) {
      this.#keptLength -= this.#kept.shift()?.length ?? 0;
    }
  }

  #take(chunk: string): void {
    this.#keepMore(chunk);
    if (this.#onLine === undefined) return;
    const lines = (this.#partial + chunk).split(this.#lineEnd);
    this.#partial = lines.pop() ?? '';
    for (const line of lines) this.#onLine(line);
  }
}

/**
 * Connects a child to the streams of its caller. How they end is no failure of its own: who destroys one knows why, and
 * a child whose output was cut short says so by its exit code. One that did not take its input may say nothing of it.
 */
async function connect(
  child: { stdin: Writable | null; stdout: Readable },
  { stdinFrom, stdoutTo }: CommandOptions,
): Promise<{ inputCutShort: boolean }> {
  const [input] = await Promise.allSettled([
    stdinFrom === undefined || child.stdin === null ? undefined : pipeline(stdinFrom, child.stdin),
    stdoutTo === undefined ? undefined : pipeline(child.stdout, stdoutTo),
  ]);
  return { inputCutShort: input.status === 'rejected' };
}

/** How a child ended, as far as the event of its exit tells. */
interface ExitFacts {
  exitCode?: number | undefined;
  signal?: string | undefined;
  /** Of one that could not be started. */
  code?: string | undefined;
}

/** The part of a child that tells of its exit. */
interface ExitingChild {
  once(event: 'exit', listener: (exitCode: number | null, signal: string | null) => void): unknown;
}

/** Resolves when a child has exited and what it had written was read; never for one that was not started. */
function exitOf(child: ExitingChild): Promise<ExitFacts> {
  return new Promise((resolve) => {
    child.once('exit', (exitCode, signal) => {
      // All that it wrote is in its pipes by now, and a turn of the event loop reads them empty; this one may have done so before.
      setImmediate(() => {
        setImmediate(() => resolve({ exitCode: exitCode ?? undefined, signal: signal ?? undefined }));
      });
    });
  });
}

/** Where no more files may be open, Node gives a child that has no streams, and execa stumbles over that. */
function begun<Child>(file: string, watch: CommandWatch | undefined, begin: () => Child): Child {
  try {
    return begin();
  } catch (error) {
    watch?.ended();
    if (!(error instanceof TypeError) || errnoOf(error) !== undefined) throw error;
    throw Object.assign(new Error(`EMFILE: too many open files, spawn ${file}`), { code: 'EMFILE' });
  }
}

/**
 * Runs a program to its end and tells how it ended; never rejects for the child's failure. The only way in which
 * fsbackup starts a program, the watchdog apart: no shell, a built environment, no standard input unless given, a
 * process group of its own (a terminal's Ctrl-C reaches only fsbackup, which decides what it means), output drained
 * into bounded memory (a child must not block on a pipe while a filesystem is frozen).
 */
export async function runCommand(
  argv: readonly [string, ...string[]],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const [file, ...args] = argv;
  const { signal, timeoutMs, cwd = '/' } = options;
  const outOfTime = timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs);
  const watch = options.watch?.();
  const isFed = options.input !== undefined || options.stdinFrom !== undefined;
  const child = begun(file, watch, () =>
    execa(file, args, {
      env: { ...BASE_ENVIRONMENT, [OWNER_VARIABLE]: ownOwnerMark(), ...options.env },
      extendEnv: false,
      reject: false,
      // A new session, so a new process group: `-pid` reaches grandchildren too.
      detached: true,
      cleanup: false,
      buffer: false,
      stdin: isFed ? 'pipe' : 'ignore',
      ...(options.input === undefined ? {} : { input: options.input }),
      // Ours may be removed while we work, and root may not even be let into it (sudo from a home on NFS or FUSE).
      cwd,
    }),
  );
  let startErrno: string | undefined;
  child.once('error', (error: unknown) => {
    startErrno = errnoOf(error);
  });
  if (child.pid === undefined) watch?.ended();
  else watch?.started(child.pid);
  const streams = connect(child, options);
  const isWhole = options.onStdoutLine === undefined && options.ignoresStdout !== true;
  const stdout =
    options.stdoutTo === undefined
      ? new OutputCollector(child.stdout, options.onStdoutLine, {
          ...options,
          keep: isWhole ? MAX_STDOUT_CHARACTERS : MAX_STDOUT_TAIL,
          isWhole,
        })
      : undefined;
  const stderr = new OutputCollector(child.stderr, options.onStderrLine, { keep: MAX_STDERR_CHARACTERS });
  let ending: Promise<void> | undefined;
  const onStop = (): void => {
    if (child.pid !== undefined) ending ??= endSession(child.pid);
  };
  let timedOut = false;
  let late: NodeJS.Immediate | undefined;
  const onOutOfTime = (): void => {
    // Timers come first in each turn of the event loop: one that was held up hears only now of a child that ended long ago.
    late = setImmediate(() => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      timedOut = true;
      onStop();
    });
  };
  child.once('exit', () => {
    // Not only once its output has ended too: by then its process group may be another's. What is left of one that was
    // stopped is still in that group.
    if (ending === undefined) watch?.ended();
    else void ending.then(() => watch?.ended());
    setTimeout(() => {
      // A stream that takes its time is not to lose what the child wrote.
      if (stdout !== undefined) child.stdout.destroy();
      child.stderr.destroy();
    }, DRAIN_MS).unref();
  });
  if (signal?.aborted === true) onStop();
  else signal?.addEventListener('abort', onStop, { once: true });
  outOfTime?.addEventListener('abort', onOutOfTime, { once: true });
  try {
    // Where our own directory was gone from the start, execa stumbles over that when it words why a child did not start.
    const ended: Promise<ExitFacts> = child.catch((error: unknown) => {
      if (startErrno === undefined) throw error;
      return { code: startErrno };
    });
    const result = await (options.endsAtExit === true ? Promise.race([ended, exitOf(child)]) : ended);
    const { inputCutShort } = await streams;
    // What outlives a program that was stopped may do its work yet.
    await ending;
    const stdoutTooLong = stdout?.isTooLong === true;
    // execve(2) and chdir(2) before it fail alike.
    const notFound = result.code === 'ENOENT' && existsSync(cwd);
    return {
      // Who reads what it wrote asks for its exit code first.
      exitCode: stdoutTooLong ? undefined : result.exitCode,
      signal: result.signal,
      notFound,
      ...(child.pid === undefined && result.code !== undefined && !notFound
        ? { startError: result.code }
        : {}),
      timedOut: timedOut && signal?.aborted !== true,
      aborted: signal?.aborted === true,
      ...(inputCutShort ? { inputCutShort } : {}),
      ...(stdoutTooLong ? { stdoutTooLong } : {}),
      stdout: stdout?.text ?? '',
      stderr: stderr.text,
    };
  } finally {
    signal?.removeEventListener('abort', onStop);
    outOfTime?.removeEventListener('abort', onOutOfTime);
    clearImmediate(late);
  }
}

/** As many UTF-16 units of what a child wrote are told, of the end: who writes binary data there, or a bar of progress, ends no line. */
const MAX_SAID = 400;

/** The last line of it, where a carriage return ends one too. */
function lastLine(text: string): string {
  const line =
    text
      .trim()
      .split(/[\r\n]/)
      .at(-1) ?? '';
  // The half of a character is none.
  return line.length <= MAX_SAID ? line : `…${line.slice(-MAX_SAID).replace(/^[\uDC00-\uDFFF]/, '')}`;
}

/** One clause that says how a child ended, with the last line it wrote: `rsync ended with exit code 11: no space`. */
export function describeFailure(program: string, result: CommandResult): string {
  const said = lastLine(result.stderr);
  const how = result.notFound
    ? 'is not installed'
    : result.timedOut
      ? 'did not end in time'
      : result.aborted
        ? 'was stopped'
        : result.stdoutTooLong === true
          ? 'wrote more than 64 MiB to its standard output, which is too much to be read'
          : result.signal !== undefined
            ? `was ended by ${result.signal}`
            : result.exitCode === undefined
              ? `cannot be executed${result.startError === undefined ? '' : ` (${result.startError})`}`
              : `ended with exit code ${result.exitCode}`;
  return said === '' || result.notFound ? `${program} ${how}` : `${program} ${how}: ${said}`;
}
