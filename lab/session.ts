import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { copyFile, mkdir, mkdtemp, open, readdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeJobImage, type Job } from './build/job.js';
import { CACHE_DIRECTORY } from './cache.js';
import { CHECKOUT } from './checkout.js';
import type { PreparedGuest } from './prepared-guest.js';
import { startMachine, type Disk, type RunningMachine } from './qemu.js';

const DATA_DISKS = 4;
const DATA_DISK_MIB = 3072;
/** From qemu's start to the start of the job. Software emulation on a busy machine takes its time. */
const BOOT_MS = 900_000;
/** From the end marker to the end of qemu. */
const POWER_OFF_MS = 20_000;
const CONSOLE_TAIL_LINES = 40;

/** How a session ended: the job did, or the guest is broken (panic, hang, no end marker). */
export type SessionOutcome =
  | { kind: 'ended'; exitCode: number }
  | { kind: 'broken'; reason: string; consoleTail: string; consoleFile: string };

/** How people are told of a broken guest. */
export function describeBroken(
  prepared: PreparedGuest,
  outcome: SessionOutcome & { kind: 'broken' },
): string {
  return [
    `--- the end of the console of ${prepared.guest.name} (all of it: ${outcome.consoleFile})`,
    outcome.consoleTail,
    `--- the guest ${prepared.guest.name} is broken: ${outcome.reason}`,
  ].join('\n');
}

export interface SessionOptions {
  job: Job;
  /** From the start of the job. */
  timeoutMs: number;
  onStdout: (chunk: Buffer) => void;
  onStderr: (chunk: Buffer) => void;
  /** As `Machine` has it. */
  cpus?: number;
  /** Gets a tar of what the job left in /results. */
  resultsFile?: string;
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** For the kernel's command line; lab/guest/init reads the second. */
function kernelWords({ guest }: PreparedGuest): string[] {
  return ['quiet', ...(guest.init === 'systemd' ? ['lab.init=systemd'] : [])];
}

/** A directory for the disks of one run; those of runs that were killed are removed. */
async function makeRunDirectory(): Promise<string> {
  const runs = path.join(CACHE_DIRECTORY, 'runs');
  await mkdir(runs, { recursive: true });
  for (const name of await readdir(runs)) {
    if (!isRunning(Number(name.split('-')[0])))
      await rm(path.join(runs, name), { recursive: true, force: true });
  }
  return await mkdtemp(path.join(runs, `${process.pid}-`));
}

async function makeDataDisks(directory: string): Promise<Disk[]> {
  return await Promise.all(
    Array.from({ length: DATA_DISKS }, async (_, index) => {
      const file = path.join(directory, `data${index}`);
      const handle = await open(file, 'wx', 0o600);
      await handle.truncate(DATA_DISK_MIB * 1024 * 1024);
      await handle.close();
      return { serial: `data${index}`, file, throwAway: false };
    }),
  );
}

/** Runs `body` with the disks of one run of the guest, which are removed afterwards. */
async function withRunDisks<T>(
  prepared: PreparedGuest,
  job: Job,
  body: (disks: readonly Disk[], directory: string) => Promise<T>,
): Promise<T> {
  const directory = await makeRunDirectory();
  try {
    const image = path.join(directory, 'job');
    const env = {
      FSBACKUP_LAB_GUEST: prepared.guest.name,
      FSBACKUP_LAB_KERNEL: prepared.behaviour,
      FSBACKUP_LAB_ZFS: prepared.guest.zfs ? '1' : '0',
      FSBACKUP_LAB_INIT: prepared.guest.init,
      ...job.env,
    };
    const tree = path.join(directory, 'tree');
    await mkdir(tree);
    await makeJobImage(image, { ...job, env }, { checkout: CHECKOUT, directory: tree });
    const disks = [
      ...prepared.disks,
      { serial: 'job', file: image, throwAway: false },
      ...(await makeDataDisks(directory)),
    ];
    return await body(disks, directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** What the guest says on its port `control`, a line each; ends with qemu. */
class Control {
  readonly #lines: string[] = [];
  #partial = '';
  readonly #running: RunningMachine;

  constructor(running: RunningMachine) {
    this.#running = running;
    running.ports.get('control')?.on('data', (chunk: Buffer) => {
      const lines = (this.#partial + chunk.toString()).split('\n');
      this.#partial = lines.pop() ?? '';
      this.#lines.push(...lines);
      running.child.emit('control');
    });
  }

  /** The first line that matches, within `timeoutMs`; else why there is none. */
  async line(pattern: RegExp, timeoutMs: number): Promise<RegExpExecArray | 'ended' | 'late'> {
    const { child } = this.#running;
    const late = AbortSignal.timeout(timeoutMs);
    for (;;) {
      const match = this.#lines.map((line) => pattern.exec(line)).find((found) => found !== null);
      if (match !== undefined && match !== null) return match;
      if (child.exitCode !== null || child.signalCode !== null) return 'ended';
      try {
        await Promise.race([
          once(child, 'control', { signal: late }),
          // After `close` nothing more can come.
          once(child, 'close', { signal: late }),
        ]);
      } catch {
        return 'late';
      }
    }
  }
}

/** How a job ended, or why it did not; `crashed`: qemu itself, by a signal, before the job began. */
type Followed = { exitCode: number } | { broken: string; crashed?: true };

async function follow(running: RunningMachine, options: SessionOptions): Promise<Followed> {
  running.ports.get('stdout')?.on('data', options.onStdout);
  running.ports.get('stderr')?.on('data', options.onStderr);
  const results = running.ports.get('results');
  if (options.resultsFile === undefined) results?.resume();
  else results?.pipe(createWriteStream(options.resultsFile));
  let qemuSaid = '';
  running.child.stderr?.on('data', (chunk: Buffer) => {
    qemuSaid = (qemuSaid + chunk.toString()).slice(-2000);
  });
  const control = new Control(running);
  const ready = await control.line(/^ready$/, BOOT_MS);
  if (ready === 'late') return { broken: `it has not booted within ${BOOT_MS / 1000} s` };
  if (ready === 'ended') {
    const broken = `it ended before it had booted ${qemuSaid}`.trim();
    return running.child.signalCode === null ? { broken } : { broken, crashed: true };
  }
  const end = await control.line(/^exit (\d+)$/, options.timeoutMs);
  if (end === 'late') return { broken: `the job has not ended within ${options.timeoutMs / 1000} s` };
  if (end === 'ended') return { broken: `it ended before the job did ${qemuSaid}`.trim() };
  return { exitCode: Number(end[1]) };
}

async function waitForEnd(running: RunningMachine, timeoutMs: number): Promise<void> {
  const { child } = running;
  const ended =
    child.exitCode === null && child.signalCode === null ? once(child, 'close') : Promise.resolve();
  await Promise.race([ended, sleep(timeoutMs, undefined, { ref: false })]);
}

/** Boots the guest, runs the job in it, and ends it, whatever happens. */
export async function runJob(prepared: PreparedGuest, options: SessionOptions): Promise<SessionOutcome> {
  return await withRunDisks(prepared, options.job, async (disks, directory) => {
    const consoleFile = path.join(directory, 'console');
    const attempt = async (): Promise<Followed> => {
      const running = startMachine({
        ...prepared,
        disks,
        cpus: options.cpus,
        append: kernelWords(prepared),
        console: { file: consoleFile },
        ports: ['control', 'stdout', 'stderr', 'results'],
      });
      try {
        const followed = await follow(running, options);
        if ('exitCode' in followed) await waitForEnd(running, POWER_OFF_MS);
        return followed;
      } finally {
        running.child.kill('SIGKILL');
      }
    };
    let result = await attempt();
    // Once more: qemu aborts now and then in its emulation of memory (`iotlb_to_section`), and nothing has run yet.
    if ('crashed' in result) result = await attempt();
    if ('exitCode' in result) return { kind: 'ended', exitCode: result.exitCode };
    const kept = path.join(CACHE_DIRECTORY, `console-${prepared.guest.name}.log`);
    await copyFile(consoleFile, kept).catch(() => undefined);
    const said = await readFile(consoleFile, 'utf8').catch(() => '');
    const consoleTail = said.trimEnd().split(/\r?\n/).slice(-CONSOLE_TAIL_LINES).join('\n');
    return { kind: 'broken', reason: result.broken, consoleTail, consoleFile: kept };
  });
}

/** Boots the guest with a shell on this terminal; returns when it has ended. */
export async function runShell(prepared: PreparedGuest): Promise<void> {
  await withRunDisks(prepared, { argv: [], env: {} }, async (disks) => {
    const running = startMachine({
      ...prepared,
      disks,
      append: kernelWords(prepared),
      console: 'terminal',
      ports: [],
    });
    running.child.stderr?.pipe(process.stderr);
    await once(running.child, 'close');
  });
}
