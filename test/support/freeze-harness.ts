import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { probeFrozen } from '../../src/system/native.js';
import { runCommand, type CommandResult } from '../../src/system/run-command.js';

const CLI = fileURLToPath(new URL('../../bin/run.js', import.meta.url));
/** A bound against hanging for ever, on a machine as slow and busy as may be. */
const PATIENCE_MS = 60_000;

export interface StatusJson {
  frozen: {
    mountpoint: string;
    expiresAt: string | null;
    timeoutSeconds: number | null;
    guards: string;
    state: string;
    owner: { pid: number };
    watchdogPids: [number, number];
  }[];
  lost: { mountpoint: string; reason: string }[];
}

/** Waits until `look` gives something; rejects after a minute. */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | undefined> | T | undefined,
): Promise<T> {
  for (const giveUpAt = Date.now() + PATIENCE_MS; Date.now() < giveUpAt; await sleep(20)) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
  }
  throw new Error(`waited a minute for: ${what}`);
}

/** The fsbackup of this checkout, with a run directory of the test's own. Everything it starts is ended by `dispose`. */
export class FreezeHarness {
  readonly #directory: string;
  readonly #children: ChildProcess[] = [];
  readonly #guards = new Set<number>();

  /** `directory`: an existing one of the test's own, on a filesystem that the test does not freeze. */
  constructor(directory: string) {
    this.#directory = directory;
  }

  get environment(): Record<string, string> {
    return {
      FSBACKUP_RUN_DIR: path.join(this.#directory, 'run'),
      FSBACKUP_STATE_DIR: path.join(this.#directory, 'state'),
    };
  }

  /** Runs fsbackup to its end. */
  async fsbackup(...args: string[]): Promise<CommandResult> {
    // mkdir(2) waits on a frozen filesystem also for a directory that is there.
    if (!existsSync(this.#directory)) await mkdir(this.#directory, { recursive: true });
    return await runCommand([process.execPath, CLI, ...args], {
      env: this.environment,
      cwd: '/',
      timeoutMs: PATIENCE_MS,
    });
  }

  async status(): Promise<StatusJson> {
    const { stdout } = await this.fsbackup('status', '--json');
    return JSON.parse(stdout) as StatusJson;
  }

  /** Starts a program that goes on; killed by `dispose` if it is still there. */
  start(file: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): ChildProcess {
    const child = spawn(file, args, {
      cwd: '/',
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        ...this.environment,
        ...env,
      },
    });
    this.#children.push(child);
    return child;
  }

  /** Starts `fsbackup ARGS` and does not wait for it. */
  startFsbackup(...args: string[]): ChildProcess {
    return this.start(process.execPath, [CLI, ...args]);
  }

  /** The guards of a freeze, as soon as it is held. */
  async held(mountpoint: string): Promise<{ watchdog: number; second: number; owner: number }> {
    const frozen = await eventually(`${mountpoint} to be frozen`, async () =>
      (await this.status()).frozen.find(
        (entry) => entry.mountpoint === mountpoint && entry.state === 'frozen',
      ),
    );
    const [watchdog, second] = frozen.watchdogPids;
    this.#guards.add(watchdog).add(second);
    return { watchdog, second, owner: frozen.owner.pid };
  }

  /** Freezes these together, and then kills all who guard them in one instant: frozen, and nobody's. */
  async abandon(...mountpoints: readonly string[]): Promise<void> {
    const { exitCode, stderr } = await this.fsbackup('freeze', '--timeout', '60', ...mountpoints);
    if (exitCode !== 0) throw new Error(stderr);
    const { watchdog, second } = await this.held(mountpoints[0] ?? '');
    for (const pid of [second, watchdog]) process.kill(pid, 'SIGSTOP');
    for (const pid of [second, watchdog]) process.kill(pid, 'SIGKILL');
    await eventually('the guards to be gone', () => [watchdog, second].every((pid) => !isGuard(pid)));
  }

  /**
   * Creates a file on the filesystem and waits for it: while the filesystem is frozen the creator sleeps in the
   * kernel. Resolves to the milliseconds it took; rejects when it takes a minute, which is "still frozen".
   */
  async write(mountpoint: string): Promise<number> {
    const begun = performance.now();
    const writer = this.start('sh', ['-c', `: > "${mountpoint}/written-$$"`]);
    await ended(writer);
    return performance.now() - begun;
  }

  /** True when a write to the filesystem does not get through within half a second. */
  async blocksWriters(mountpoint: string): Promise<boolean> {
    return await Promise.race([this.write(mountpoint).then(() => false), sleep(500, true)]);
  }

  /** Ends what was started, stopped or not. Guards are only ended once their filesystems are thawed. */
  async dispose(): Promise<void> {
    for (const child of this.#children) {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    }
    for (const pid of this.#guards) {
      if (isGuard(pid)) process.kill(pid, 'SIGCONT');
    }
    await eventually('the guards to end', () => [...this.#guards].every((pid) => !isGuard(pid)));
    await Promise.all(this.#children.map((child) => ended(child)));
  }
}

/** Resolves to the exit code, or to the name of the signal that ended the child. */
export async function ended(child: ChildProcess): Promise<number | string> {
  return await eventually(`pid ${child.pid} to end`, () => child.exitCode ?? child.signalCode ?? undefined);
}

/** True while a process of that pid is one of our guards, and no zombie. */
export function isGuard(pid: number): boolean {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return /^Name:\s*(qsentry|vigil)$/m.test(status) && !/^State:\s*Z/m.test(status);
  } catch {
    return false;
  }
}

/** Asks the kernel, with a freeze that is undone at once where there was none. */
export async function isFrozen({ mountpoint }: { mountpoint: string }): Promise<boolean> {
  const fd = openSync(mountpoint, 'r');
  try {
    return await probeFrozen(fd);
  } finally {
    closeSync(fd);
  }
}
