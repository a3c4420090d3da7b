import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import path from 'node:path';

/** A process, as /proc has it. */
export interface ProcessFacts {
  pid: number;
  ppid: number;
  comm: string;
  state: string;
}

function pids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** Undefined once it is gone. */
export function readProcess(pid: number): ProcessFacts | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [, comm = '', state = '', ppid = '0'] = /^\d+ \((.*)\) (\S) (\d+)/s.exec(stat) ?? [];
    return { pid, ppid: Number(ppid), comm, state };
  } catch {
    return undefined;
  }
}

/** Processes that have a file below `directory` open or in their environment, which a run leaves none of. */
export function processesUsing(directory: string): ProcessFacts[] {
  return pids().flatMap((pid) => {
    const process = readProcess(pid);
    if (process === undefined || process.state === 'Z') return [];
    try {
      const base = `/proc/${pid}`;
      const links = readdirSync(path.join(base, 'fd')).map((fd) => readlinkOf(path.join(base, 'fd', fd)));
      const uses = links.some((link) => link.startsWith(`${directory}/`));
      return uses || readFileSync(path.join(base, 'environ'), 'utf8').includes(directory) ? [process] : [];
    } catch {
      return [];
    }
  });
}

function readlinkOf(file: string): string {
  try {
    return readlinkSync(file);
  } catch {
    return '';
  }
}
