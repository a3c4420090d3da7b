import { setTimeout as sleep } from 'node:timers/promises';
import type { CommandResult } from '../../system/run-command.js';

/** restic's exit code for it since 0.17; before, its words tell. */
const LOCKED = 11;

/** Whether a restic did nothing since another one has the repository locked. */
export function isLocked({ exitCode, stderr }: CommandResult): boolean {
  return exitCode === LOCKED || /repository is already locked/.test(stderr);
}

/** Whose lock it met, in restic's words: `exclusively by PID 25602 on vm by root (UID 0, GID 0), created at …`. */
export function describeLock({ stderr }: CommandResult): string {
  const holder = /repository is already locked (.+)/.exec(stderr)?.[1]?.trim();
  const since = /lock was created at ([\d-]+ [\d:]+)/.exec(stderr)?.[1];
  const id = /storage ID ([0-9a-f]+)/.exec(stderr)?.[1];
  return [holder, since && `since ${since}`, id && `lock ${id}`]
    .filter((part) => part !== undefined && part !== '')
    .join(', ');
}

/** How long a lock of another restic is waited for. */
export interface LockPatience {
  waitMs: number;
  pauseMs: number;
}

/**
 * What a restic comes to that does nothing where the repository is locked: it is begun again until it is not, or the patience is over. By
 * this and not by `--retry-lock`, which restic has since 0.16. Aborted, it resolves to what was last heard.
 */
export async function whenUnlocked(
  attempt: () => Promise<CommandResult>,
  { waitMs, pauseMs }: LockPatience,
  signal?: AbortSignal,
): Promise<CommandResult> {
  const until = performance.now() + waitMs;
  for (;;) {
    const result = await attempt();
    if (!isLocked(result) || performance.now() + pauseMs > until) return result;
    try {
      await sleep(pauseMs, undefined, signal === undefined ? {} : { signal });
    } catch {
      return { ...result, aborted: true };
    }
  }
}
