import { readdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import type { FsbackupCli, StartedCli } from './fsbackup-cli.js';

const STRING = /"(?<text>(?:[^"\\]|\\.)*)"/g;

/** The arguments in a line of strace's, NUL between them: `PID execve("/bin/cat", ["cat", "key"], 0x… …`. */
function argumentsIn(line: string): string {
  const list = line.slice(line.indexOf(', [') + 1, line.lastIndexOf('], '));
  // With -xx every byte is `\x` and two hexadecimal digits.
  return [...list.matchAll(STRING)]
    .map(({ groups }) =>
      Buffer.from((groups?.['text'] ?? '').replaceAll(String.raw`\x`, ''), 'hex').toString(),
    )
    .join('\0');
}

/** A command of fsbackup with the arguments of every program that was begun by it and by what it began, however short. */
export interface Watched {
  started: StartedCli;
  /** How it ended. */
  ended: number | NodeJS.Signals;
  /** A program each, NUL between its arguments. */
  seen: string[];
}

/** Runs a command of fsbackup to its end; `directory` holds strace's notes meanwhile. Needs `program:strace`. */
export async function watchArguments(
  cli: FsbackupCli,
  directory: string,
  ...args: string[]
): Promise<Watched> {
  const notes = path.join(directory, 'execve');
  const what = ['--trace=execve', '--signal=none', '--strings-in-hex=all', '--string-limit=65536'];
  const tracer = ['strace', '--follow-forks', '--seccomp-bpf', '--quiet=all', ...what, `--output=${notes}`];
  const started = cli.startUnder(tracer, ...args);
  const ended = await started.ended();
  const lines = (await readFile(notes, 'utf8')).split('\n').filter((line) => line.includes('execve('));
  await rm(notes);
  return { started, ended, seen: lines.map(argumentsIn) };
}

/** All text in the files below a directory. */
export async function textBelow(directory: string): Promise<string> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const texts = await Promise.all(
    files.map((entry) => readFile(`${entry.parentPath}/${entry.name}`, 'latin1')),
  );
  return texts.join('\n');
}
