import { readdir, readFile } from 'node:fs/promises';
import process from 'node:process';

/** The processes there are. */
export async function listPids(): Promise<number[]> {
  return (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
}

/** `NAME=VALUE` each, as the process was started with; none for one that is gone, or that we may not look at. */
export async function readEnvironment(pid: number): Promise<string[]> {
  const text = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
  return text.split('\0').filter((line) => line !== '');
}

/** Who a living process is. */
export interface ProcessState {
  /** The program's name, cut to 15 bytes. */
  name: string;
  session: number;
}

/** Undefined for one that has ended, though its parent has not taken note. proc_pid_stat(5). */
export async function readProcessState(pid: number): Promise<ProcessState | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  // PID (NAME) STATE PARENT GROUP SESSION, and the name may hold anything.
  const [, name = '', rest] = /^\d+ \((.*)\) (.*)$/s.exec(text) ?? [];
  const [state = 'X', , , session] = rest?.split(' ') ?? [];
  return /^[ZXx]$/.test(state) ? undefined : { name, session: Number(session) };
}

/** Signals each; one that has ended meanwhile is no error. */
export function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {
      // ESRCH.
    }
  }
}
