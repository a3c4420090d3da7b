import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { readProcessState } from './process-table.js';
import { startOfLiving } from './process-identity.js';

/** A process of the unit of systemd that this one is the main process of. */
export interface UnitProgram {
  pid: number;
  startTime: number;
  name: string;
}

/**
 * What systemd kills when this process ends: what runs in the cgroup of its unit. Undefined where it is not the main process of
 * a unit, or nobody can tell; systemd says so since version 248, by `SYSTEMD_EXEC_PID`.
 */
export async function readUnitPrograms(
  env: NodeJS.ProcessEnv = process.env,
): Promise<UnitProgram[] | undefined> {
  if (env['SYSTEMD_EXEC_PID'] !== String(process.pid)) return undefined;
  try {
    const [, group] = /^0::(.+)$/m.exec(await readFile('/proc/self/cgroup', 'utf8')) ?? [];
    if (group === undefined) return undefined;
    const pids = await readFile(path.join('/sys/fs/cgroup', group, 'cgroup.procs'), 'utf8');
    const programs: UnitProgram[] = [];
    for (const pid of pids.trimEnd().split('\n').map(Number)) {
      const startTime = startOfLiving(pid);
      const state = await readProcessState(pid);
      if (startTime !== undefined && state !== undefined && pid !== process.pid)
        programs.push({ pid, startTime, name: state.name });
    }
    return programs;
  } catch {
    // A hierarchy of version 1, or none that is to be seen.
    return undefined;
  }
}
