import { execa } from 'execa';

export interface ProgramOptions {
  /** Bytes or text for its stdin; nothing when left out. */
  input?: string;
  cwd?: string;
  env?: Readonly<Record<string, string>>;
  timeoutMs?: number;
}

const DEFAULT_TIMEOUT_MS = 5 * 60_000;
const ERROR_LINES = 30;

/** Runs a program of the host to its end; its stdout. Throws, with the end of what it said, unless it exits 0. */
export async function must(
  argv: readonly [string, ...string[]],
  options: ProgramOptions = {},
): Promise<string> {
  const [file, ...args] = argv;
  const result = await execa(file, args, {
    reject: false,
    all: true,
    env: { LC_ALL: 'C.UTF-8', PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`, ...options.env },
    timeout: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
    maxBuffer: 64 * 1024 * 1024,
    stdin: options.input === undefined ? 'ignore' : 'pipe',
    ...(options.input === undefined ? {} : { input: options.input }),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  if (result.exitCode !== 0) {
    const tail = result.all.split('\n').slice(-ERROR_LINES).join('\n');
    throw new Error(
      `${file} ${args.join(' ')}: ${result.shortMessage?.split('\n')[0] ?? 'it failed'}\n${tail}`,
    );
  }
  return result.stdout;
}
