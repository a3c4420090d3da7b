import { readdir, readFile, readlink } from 'node:fs/promises';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';

/** How long execve(2) may keep us from an environment: its program may lie on a disk that is slow, or that waits for a thaw. */
const EXECVE_LIMIT_MS = 5000;
const POLL_MS = 10;

/** The processes there are. */
export async function listPids(): Promise<number[]> {
  return (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
}

/** The fields of proc_pid_stat(5) after the name, which may hold anything; none for one that is gone. */
export async function readStat(pid: number): Promise<{ name: string; fields: readonly string[] }> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  const [, name = '', rest = ''] = /^\d+ \((.*)\) (.*)$/s.exec(text) ?? [];
  return { name, fields: rest.split(' ') };
}

/**
 * Whether a process whose environment reads as empty may have one: in execve(2) it has none, from the moment that its old memory is
 * gone until the kernel knows where the new one is (`env_start`, `env_end`). A kernel thread, and one that has ended, has no program.
 */
async function mayHaveEnvironment(pid: number): Promise<boolean> {
  const { fields } = await readStat(pid);
  const [start = '0', end = '0'] = fields.slice(47, 49);
  if (start === end && end !== '0') return false;
  return await readlink(`/proc/${pid}/exe`).then(
    () => true,
    () => false,
  );
}

/**
 * `NAME=VALUE` each, as the process was started with; none for one that is gone, or that we may not look at. Waits for one that is in
 * execve(2), some seconds at most.
 */
export async function readEnvironment(pid: number): Promise<string[]> {
  const giveUpAt = performance.now() + EXECVE_LIMIT_MS;
  for (;;) {
    const text = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
    if (text !== '' || performance.now() >= giveUpAt || !(await mayHaveEnvironment(pid)))
      return text.split('\0').filter((line) => line !== '');
    await sleep(POLL_MS);
  }
}

/** Who a living process is. */
export interface ProcessState {
  /** The program's name, cut to 15 bytes. */
  name: string;
  group: number;
  session: number;
}

/** Undefined for one that has ended, though its parent has not taken note. */
export async function readProcessState(pid: number): Promise<ProcessState | undefined> {
  const { name, fields } = await readStat(pid);
  // STATE PARENT GROUP SESSION
  const [state = '', , group, session] = fields;
  return /^[ZXx]?$/.test(state) ? undefined : { name, group: Number(group), session: Number(session) };
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
