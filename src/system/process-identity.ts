import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';

/** Names one process for good: a pid alone is used again after its process has gone. */
export interface ProcessIdentity {
  /** /proc/sys/kernel/random/boot_id: another one means that nothing volatile is left of it. */
  bootId: string;
  pid: number;
  /** Clock ticks since boot at which the process started (field 22 of /proc/PID/stat, proc_pid_stat(5)). */
  startTime: number;
}

/** A field of a /proc/PID/stat text, from the third on, as proc_pid_stat(5) counts them. The second, the name, may hold anything. */
export function statField(stat: string, number: number): string {
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[number - 3] ?? '';
}

/** When the process of a /proc/PID/stat text started. */
export function parseStartTime(stat: string): number {
  return Number(statField(stat, 22));
}

/** When the process of that pid started; undefined where none runs. */
export function startOfLiving(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return /^[ZXx]/.test(statField(stat, 3)) ? undefined : parseStartTime(stat);
  } catch {
    return undefined;
  }
}

/** Whether a process of that pid runs. One that has ended does not, though its parent has not taken note. */
export function isAlive(pid: number): boolean {
  return startOfLiving(pid) !== undefined;
}

/** Whether that very process of this boot runs, and not another that has got its pid. As `isAlive`. */
export function isRunning({ pid, startTime }: Pick<ProcessIdentity, 'pid' | 'startTime'>): boolean {
  return startOfLiving(pid) === startTime;
}

/** Who this process is. */
export async function readProcessIdentity(): Promise<ProcessIdentity> {
  const [bootId, stat] = await Promise.all([
    readFile('/proc/sys/kernel/random/boot_id', 'utf8'),
    readFile('/proc/self/stat', 'utf8'),
  ]);
  return { bootId: bootId.trim(), pid: process.pid, startTime: parseStartTime(stat) };
}

/** In the environment of every child: by which process it was started. */
export const OWNER_VARIABLE = 'FSBACKUP_OWNER';

/** With a number behind it, in the environment of a program that makes snapshots: the name of one of them. */
export const SNAPSHOT_VARIABLE = 'FSBACKUP_SNAPSHOT_';

/** What tells which snapshots a program makes: a variable each, since one alone may not be longer than 128 KiB. */
export function snapshotMarks(names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name, index) => [`${SNAPSHOT_VARIABLE}${index}`, name]));
}

/** In the environment of a program that brings an application to rest: the id of the journal's entry of that. */
export const QUIESCE_VARIABLE = 'FSBACKUP_QUIESCE';

/** The value of `FSBACKUP_OWNER` in the children of a process. */
export function ownerMark({ pid, startTime }: Pick<ProcessIdentity, 'pid' | 'startTime'>): string {
  return `${pid}-${startTime}`;
}

let ownMark: string | undefined;

/** That of this process's children. */
export function ownOwnerMark(): string {
  ownMark ??= ownerMark({
    pid: process.pid,
    startTime: parseStartTime(readFileSync('/proc/self/stat', 'utf8')),
  });
  return ownMark;
}
