import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readMounts } from '../../../src/system/mountinfo.js';
import type { Attack, Fault } from './fault.js';

/** Where a controller's hierarchy is: of cgroup v1, or of v2 where that has it. */
async function hierarchy(controller: string): Promise<string | undefined> {
  const mounts = await readMounts();
  const v1 = mounts.find(({ mountpoint }) => path.basename(mountpoint) === controller);
  if (v1 !== undefined) return v1.mountpoint;
  return mounts.find(({ fstype }) => fstype === 'cgroup2')?.mountpoint;
}

let count = 0;

/** A cgroup for one run, and the command line that starts a program in it. */
async function makeCgroup(
  controller: string,
  later: Attack['later'],
): Promise<{ directory: string; argv: readonly string[] }> {
  const parent = await hierarchy(controller);
  if (parent === undefined) throw new Error(`no cgroups of ${controller} here`);
  count += 1;
  const directory = path.join(parent, `chaos-${process.pid}-${count}`);
  mkdirSync(directory);
  later(async () => {
    // What was killed in it needs an instant to be gone.
    for (let look = 0; look < 500; look += 1) {
      try {
        rmdirSync(directory);
        return;
      } catch {
        await sleep(20);
      }
    }
    const pids = readFileSync(path.join(directory, 'cgroup.procs'), 'utf8');
    throw new Error(`${directory} still holds ${pids.trim().split('\n').join(' ')}`);
  });
  return { directory, argv: ['sh', '-c', `echo $$ >${directory}/cgroup.procs && exec "$@"`, 'sh'] };
}

const directories = new WeakMap<Attack['world'], string>();

/** What becomes of a run that lacks memory or processes: it may fail anywhere, and say so by any code. */
const ANYWHERE = [0, 1, 3, 20, 21, 22, 30, 40, 60, 'SIGKILL'] as const;

function set(directory: string, names: readonly string[], value: string): void {
  for (const name of names) {
    try {
      writeFileSync(path.join(directory, name), value);
      return;
    } catch {
      // The other version of cgroups.
    }
  }
}

/** Whole cgroups that are killed, and such that have too little. */
export const CGROUP_FAULTS: readonly Fault[] = [
  {
    name: 'cgroup.kill',
    prepare: async ({ world, later }) => {
      const { directory, argv } = await makeCgroup('unified', later);
      directories.set(world, directory);
      return argv;
    },
    strike: async ({ world, run }) => {
      if (run.hasEnded) return false;
      writeFileSync(path.join(directories.get(world) ?? '', 'cgroup.kill'), '1');
      return true;
    },
    outcomes: [0, 'SIGKILL'],
  },
  {
    name: 'out of memory',
    prepare: async ({ random, later }) => {
      const { directory, argv } = await makeCgroup('memory', later);
      set(directory, ['memory.limit_in_bytes', 'memory.max'], `${random.between(24, 80)}M`);
      return argv;
    },
    // V8 that cannot get memory aborts.
    outcomes: [...ANYWHERE, 'SIGABRT', 'SIGTRAP'],
  },
  {
    name: 'process table full',
    prepare: async ({ world, later }) => {
      const { directory, argv } = await makeCgroup('pids', later);
      directories.set(world, directory);
      return argv;
    },
    strike: async ({ world, run }) => {
      if (run.hasEnded) return false;
      set(directories.get(world) ?? '', ['pids.max'], '1');
      return true;
    },
    outcomes: [...ANYWHERE, 'SIGABRT'],
  },
];
