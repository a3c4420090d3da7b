import { spawn } from 'node:child_process';
import { mkdir, open, readFile } from 'node:fs/promises';
import path from 'node:path';
import { ThrowawayDisks, type ThrowawayFilesystem } from '../test/support/throwaway-filesystem.js';
import { CLI } from './bench-world.js';
import type { Figure } from './measure.js';

const KIB = 1024;
const MIB = 1024 ** 2;
const POLL_MS = 20;
/**
 * V8's young generation grows to 48 MiB in any run that is long enough, and garbage in the old one is collected when there
 * is need: so much more is no growth. With a million files it would be 100 bytes for each.
 */
const PLATEAU_MIB = 96;

const FEW = 1000;

type Engine = 'rsync' | 'tar';

/** VmHWM of proc_pid_status(5): the most that was resident at any time; undefined once the process has ended. */
async function readPeakBytes(pid: number): Promise<number | undefined> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  const kib = /^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1];
  return kib === undefined ? undefined : Number(kib) * KIB;
}

/** Runs fsbackup and tells the peak of its own memory, without its children's. Throws unless it exits 0. */
async function peakOf(
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
): Promise<number> {
  const child = spawn(process.execPath, [CLI, ...args], {
    env: { PATH: process.env['PATH'], ...environment },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  let peak = 0;
  const look = async (): Promise<void> => {
    if (child.pid !== undefined) peak = Math.max(peak, (await readPeakBytes(child.pid)) ?? 0);
  };
  const timer = setInterval(() => void look(), POLL_MS);
  const exitCode = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', resolve);
  });
  clearInterval(timer);
  if (exitCode !== 0) throw new Error(`fsbackup ${args.join(' ')} ended with ${exitCode ?? 'a signal'}`);
  return peak;
}

async function makeFiles(directory: string, from: number, to: number): Promise<void> {
  for (let index = from; index < to; index += 1) {
    const parent = path.join(directory, `directory-${Math.floor(index / 1000)}`);
    if (index % 1000 === 0) await mkdir(parent, { recursive: true });
    const file = await open(path.join(parent, `a file with a usual name ${index}`), 'w');
    await file.close();
  }
}

async function removeTrees(...directories: string[]): Promise<void> {
  // rm(1), many times faster than Node's.
  const child = spawn('rm', ['-rf', '--', ...directories], { stdio: 'inherit' });
  await new Promise((resolve) => {
    child.once('exit', resolve);
  });
}

/** What each command took at most, for a tree of so many files. */
async function measure(
  engine: Engine,
  { mountpoint }: ThrowawayFilesystem,
  environment: Readonly<Record<string, string>>,
): Promise<Map<string, number>> {
  const target = path.join(mountpoint, 'target');
  const out = path.join(mountpoint, 'out');
  await mkdir(target);
  const run = ['run', '--job', 'bench', '--source', path.join(mountpoint, 'tree'), '--to', target];
  const job = [...run, '--engine', engine, '--snapshot', 'none', '--quiet'];
  const from = ['--from', target];
  const commands: [string, string[]][] = [
    ['first run', job],
    ['second run', job],
    ['verify --full', ['backups', 'verify', 'bench', '--full', ...from]],
    ['restore of a pattern', ['restore', 'bench', ...from, '--to', out, 'a file with a usual name 7*7']],
  ];
  const peaks = new Map<string, number>();
  for (const [what, args] of commands) peaks.set(what, await peakOf(args, environment));
  await removeTrees(target, out);
  return peaks;
}

/**
 * The memory of fsbackup itself, not of what it starts, with 1 000 files and with `files`: at most `PLATEAU_MIB` more.
 * Empty files and a live tree: it is their number that is measured. Takes minutes for a million.
 */
export async function benchMemory(files: number): Promise<Figure[]> {
  const disks = new ThrowawayDisks();
  try {
    // The tree, two backups of it by hard links, the lists on the way.
    const disk = await disks.filesystem({
      fstype: 'ext4',
      sizeMiB: 4096 + Math.ceil(files / 100),
      mkfsArguments: ['-N', String(files * 3 + 50_000)],
    });
    const environment = {
      FSBACKUP_RUN_DIR: `${disks.directory}/run`,
      FSBACKUP_STATE_DIR: `${disks.directory}/state`,
    };
    const tree = path.join(disk.mountpoint, 'tree');
    const engines = ['rsync', 'tar'] as const;
    await makeFiles(tree, 0, FEW);
    const few = new Map<Engine, Map<string, number>>();
    for (const engine of engines) few.set(engine, await measure(engine, disk, environment));
    await makeFiles(tree, FEW, files);
    const figures: Figure[] = [];
    for (const engine of engines) {
      for (const [what, bytes] of await measure(engine, disk, environment)) {
        const peak = few.get(engine)?.get(what) ?? 0;
        figures.push({
          what: `peak memory of fsbackup, ${engine}, ${what}: ${(bytes / MIB).toFixed(0)} MiB with ${files} files, beyond the ${(peak / MIB).toFixed(0)} MiB with ${FEW}`,
          ours: (bytes - peak) / MIB,
          unit: 'MiB',
          limit: PLATEAU_MIB,
          samples: 1,
        });
      }
    }
    return figures;
  } finally {
    await disks.dispose();
  }
}
