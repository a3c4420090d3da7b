import { readdir, stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { KILL_AFTER_MS } from './end-session.js';
import { OWNER_VARIABLE, ownOwnerMark } from './process-identity.js';
import { listPids, readEnvironment, readProcessState, signalAll } from './process-table.js';
import type { CommandWatch } from './run-command.js';

/** What reads the output of a program to its end, as `logger` behind a pipe, ends just after it. */
const GRACE_MS = 5000;
const POLL_MS = 50;

/** A program that runs. */
export interface Running {
  pid: number;
  /** Cut to 15 bytes. */
  name: string;
}

/** Whether a process has a file or directory open, by whatever name: it may be in another mount namespace. */
async function hasOpen(pid: number, wanted: { dev: bigint; ino: bigint }): Promise<boolean> {
  const descriptors = await readdir(`/proc/${pid}/fd`).catch(() => []);
  for (const descriptor of descriptors) {
    const open = await stat(`/proc/${pid}/fd/${descriptor}`, { bigint: true }).catch(() => undefined);
    if (open?.dev === wanted.dev && open.ino === wanted.ino) return true;
  }
  return false;
}

/**
 * What a program that ended has left running: what is in its session, or still has `hold` open, a file or directory that it was given.
 * A daemon has left the one and closed the other. Of what was started with another environment nothing is known.
 */
export class LeftRunning {
  readonly #hold: string;
  #session: number | undefined;

  constructor(hold: string) {
    this.#hold = hold;
  }

  /** For the program, see `CommandOptions.watch`. */
  readonly watch = (): CommandWatch => ({
    started: (group) => {
      this.#session = group;
    },
    ended: () => undefined,
  });

  async find(): Promise<Running[]> {
    const { dev, ino } = await stat(this.#hold, { bigint: true });
    const found: Running[] = [];
    for (const pid of await listPids()) {
      const state = await readProcessState(pid);
      if (
        state === undefined ||
        !(await readEnvironment(pid)).includes(`${OWNER_VARIABLE}=${ownOwnerMark()}`)
      )
        continue;
      if (state.session === this.#session || (await hasOpen(pid, { dev, ino })))
        found.push({ pid, name: state.name });
    }
    return found;
  }

  /** Resolves when there is none, or with those that there are after some seconds. */
  async await(): Promise<Running[]> {
    return await this.#until(GRACE_MS);
  }

  /** SIGTERM to all of them, SIGKILL 5 s later. Resolves when none is left, or after as long again. */
  async end(): Promise<void> {
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      const found = await this.find();
      signalAll(
        found.map(({ pid }) => pid),
        signal,
      );
      if (found.length === 0 || (await this.#until(KILL_AFTER_MS)).length === 0) return;
    }
  }

  async #until(limitMs: number): Promise<Running[]> {
    const giveUpAt = performance.now() + limitMs;
    for (;;) {
      const found = await this.find();
      if (found.length === 0 || performance.now() >= giveUpAt) return found;
      await sleep(POLL_MS);
    }
  }
}
