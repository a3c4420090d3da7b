import { readFile } from 'node:fs/promises';
import { listPids, readStat } from './process-table.js';

/** A process that waits in the kernel and takes no signal (state D). */
export interface BlockedProcess {
  pid: number;
  /** The program's name, cut to 15 bytes. */
  name: string;
  /** How often it has given up a processor; the same later: it has not run since. */
  switches: number;
}

async function switchesOf(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return [...text.matchAll(/^(?:non)?voluntary_ctxt_switches:\s+(\d+)$/gm)]
    .map(([, count]) => Number(count))
    .reduce((sum, count) => sum + count, 0);
}

/** Those of a session that are in state D now. Reads /proc alone, which no freeze stops. */
export async function blockedIn(session: number): Promise<BlockedProcess[]> {
  const blocked: BlockedProcess[] = [];
  for (const pid of await listPids()) {
    const { name, fields } = await readStat(pid);
    // STATE PARENT GROUP SESSION
    const [state, , , of] = fields;
    if (state === 'D' && Number(of) === session) blocked.push({ pid, name, switches: await switchesOf(pid) });
  }
  return blocked;
}
